/* Stands in for CUDA's runtime, as no GPU is in the test: its memory is the host's, and what it is asked is done at once. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *set(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}

int cudaGetDeviceCount(int *count) {
    if (getenv("STAND_IN_DRIVER_CRASHES")) abort();
    *count = atoi(set("STAND_IN_GPUS", "1"));
    return *count ? 0 : 100;
}

const char *cudaGetErrorString(int code) {
    return code == 100 ? "no CUDA-capable device is detected" : code == 2 ? "out of memory" : "unknown error";
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    int numbers[2] = {0, 0};
    sscanf(set("STAND_IN_CAPABILITY", "8.7"), "%d.%d", &numbers[0], &numbers[1]);
    if (device != 0 || attribute < 75 || attribute > 76) return 1;
    *value = numbers[attribute - 75];
    return 0;
}

int cudaGetDeviceProperties(void *properties, int device) {
    if (device != 0) return 101;
    memset(properties, 1, 1024); /* what is known of it begins with 256 bytes of a name */
    strcpy(properties, "stand-in GPU");
    return 0;
}

int cudaMemGetInfo(size_t *available, size_t *total) {
    *available = (size_t)3 << 30;
    *total = (size_t)4 << 30;
    return 0;
}

int cudaRuntimeGetVersion(int *version) {
    *version = 12060;
    return 0;
}

int cudaMalloc(void **pointer, size_t size) {
    if (getenv("STAND_IN_MEMORY_IS_FULL")) return 2;
    *pointer = malloc(size);
    memset(*pointer, 0xff, size); /* floats of it are no numbers */
    return 0;
}

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, void *stream) {
    if (!stream || kind < 1 || kind > 2) return 1;
    memcpy(target, source, size);
    return 0;
}

int cudaStreamCreate(void **stream) {
    *stream = malloc(1);
    return 0;
}

int cudaStreamSynchronize(void *stream) { return !stream; }

int cudaEventCreate(void **event) {
    *event = calloc(1, 1);
    return 0;
}

int cudaEventRecord(void *event, void *stream) {
    *(char *)event = 1;
    return !stream;
}

int cudaEventElapsedTime(float *milliseconds, void *start, void *end) {
    if (!*(char *)start || !*(char *)end) return 600;
    *milliseconds = 0.125f;
    return 0;
}
