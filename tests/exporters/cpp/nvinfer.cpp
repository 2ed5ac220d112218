// A TensorRT and a CUDA of the host, to run infer.cpp: behind the headers of each version, the same known scores.
//
// An engine is the text "classes channels height width uint8 least most"; the score of class k is the mean of the pixels, in
// the order in which they lie on the device, whose position leaves k when divided by the number of classes.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

#if NV_TENSORRT_MAJOR < 8
#define DESTROYABLE(Name)           \
    Name::~Name() {}                \
    void Name::destroy() noexcept { \
        delete this;                \
    }
#elif NV_TENSORRT_MAJOR == 8
#define DESTROYABLE(Name)           \
    Name::~Name() noexcept {}       \
    void Name::destroy() noexcept { \
        delete this;                \
    }
#else
#define DESTROYABLE(Name) \
    Name::~Name() noexcept {}
#endif

namespace nvinfer1 {
namespace {
struct Plan {
    int classes, channels, height, width, uint8, least, most;
} plan;
int batch;
void* tensors[2];

bool is(const char* name, const char* which) {
    return std::strcmp(name, which) == 0;
}
int index(const char* name) {
    return is(name, "pictures") ? 0 : is(name, "scores") ? 1 : -1;
}

Dims dims(int tensor, int first) {
    Dims shape{};
    shape.nbDims = tensor == 0 ? 4 : tensor == 1 ? 2 : -1;
    shape.d[0] = first;
    shape.d[1] = tensor == 0 ? plan.channels : plan.classes;
    shape.d[2] = plan.height;
    shape.d[3] = plan.width;
    return shape;
}

DataType type(int tensor) {
#if NV_TENSORRT_MAJOR > 8 || (NV_TENSORRT_MAJOR == 8 && NV_TENSORRT_MINOR >= 5)
    if (tensor == 0 && plan.uint8) return DataType::kUINT8;
#endif
    return tensor == 0 && plan.uint8 ? DataType::kINT8 : DataType::kFLOAT;
}

Dims profile(int tensor, OptProfileSelector which) {
    return dims(tensor, which == OptProfileSelector::kMIN ? plan.least : plan.most);
}

bool resize(const Dims& shape) {
    batch = static_cast<int>(shape.d[0]);
    return batch >= plan.least && batch <= plan.most && shape.nbDims == 4 && shape.d[1] == plan.channels &&
           shape.d[2] == plan.height && shape.d[3] == plan.width;
}

bool execute() {
    const int pixels = plan.channels * plan.height * plan.width;
    for (int i = 0; i < batch; ++i)
        for (int k = 0; k < plan.classes; ++k) {
            double sum = 0;
            int number = 0;
            for (int j = k; j < pixels; j += plan.classes, ++number) {
                const int at = i * pixels + j;
                sum += plan.uint8 ? static_cast<unsigned char*>(tensors[0])[at] : static_cast<float*>(tensors[0])[at];
            }
            static_cast<float*>(tensors[1])[i * plan.classes + k] = static_cast<float>(sum / number);
        }
    return true;
}
}  // namespace

DESTROYABLE(IRuntime)
DESTROYABLE(ICudaEngine)
DESTROYABLE(IExecutionContext)

IRuntime* createInferRuntime(ILogger&) noexcept {
    return new IRuntime;
}
void IRuntime::setDLACore(std::int32_t) noexcept {}
ICudaEngine* IRuntime::deserializeCudaEngine(const void* blob, std::size_t size) noexcept {
    std::istringstream text(std::string(static_cast<const char*>(blob), size));
    text >> plan.classes >> plan.channels >> plan.height >> plan.width >> plan.uint8 >> plan.least >> plan.most;
    return text ? new ICudaEngine : nullptr;
}
IExecutionContext* ICudaEngine::createExecutionContext() noexcept {
    return new IExecutionContext;
}

#if NV_TENSORRT_MAJOR <= 8
std::int32_t ICudaEngine::getNbBindings() const noexcept {
    return 2;
}
std::int32_t ICudaEngine::getBindingIndex(const char* name) const noexcept {
    return index(name);
}
Dims ICudaEngine::getBindingDimensions(std::int32_t tensor) const noexcept {
    return dims(tensor, -1);
}
DataType ICudaEngine::getBindingDataType(std::int32_t tensor) const noexcept {
    return type(tensor);
}
Dims ICudaEngine::getProfileDimensions(std::int32_t tensor, std::int32_t, OptProfileSelector which) const noexcept {
    return profile(tensor, which);
}
bool IExecutionContext::setBindingDimensions(std::int32_t tensor, Dims shape) noexcept {
    return tensor == 0 && resize(shape);
}
#if NV_TENSORRT_MAJOR < 8
bool IExecutionContext::enqueueV2(void** bindings, cudaStream_t, cudaEvent_t*) noexcept {
#else
bool IExecutionContext::enqueueV2(void* const* bindings, cudaStream_t, cudaEvent_t*) noexcept {
#endif
    tensors[0] = bindings[0];
    tensors[1] = bindings[1];
    return execute();
}
#endif

#if NV_TENSORRT_MAJOR > 8 || (NV_TENSORRT_MAJOR == 8 && NV_TENSORRT_MINOR >= 5)
std::int32_t ICudaEngine::getNbIOTensors() const noexcept {
    return 2;
}
Dims ICudaEngine::getTensorShape(const char* name) const noexcept {
    return dims(index(name), -1);
}
DataType ICudaEngine::getTensorDataType(const char* name) const noexcept {
    return type(index(name));
}
Dims ICudaEngine::getProfileShape(const char* name, std::int32_t, OptProfileSelector which) const noexcept {
    return profile(index(name), which);
}
bool IExecutionContext::setInputShape(const char* name, const Dims& shape) noexcept {
    return index(name) == 0 && resize(shape);
}
bool IExecutionContext::setTensorAddress(const char* name, void* address) noexcept {
    if (index(name) < 0) return false;
    tensors[index(name)] = address;
    return true;
}
bool IExecutionContext::enqueueV3(cudaStream_t) noexcept {
    return execute();
}
#endif
}  // namespace nvinfer1

std::int32_t getInferLibVersion() noexcept {
    return NV_TENSORRT_MAJOR * (NV_TENSORRT_MAJOR < 10 ? 1000 : 10000) + NV_TENSORRT_MINOR * 100 + NV_TENSORRT_PATCH;
}

const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorNoDevice ? "no CUDA-capable device is detected" : "out of memory";
}
cudaError_t cudaGetDeviceCount(int* count) {
    return (*count = std::getenv("NO_GPU") ? 0 : 1) ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    *value = attribute == cudaDevAttrComputeCapabilityMajor ? 8 : 7;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    *properties = {"none"};
    return cudaSuccess;
}
cudaError_t cudaMalloc(void** address, std::size_t bytes) {
    return (*address = std::malloc(bytes)) ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* address) {
    std::free(address);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
    *stream = nullptr;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) {
    return cudaSuccess;
}
