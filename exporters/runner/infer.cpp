// Classifies images with the engine that build_engine.py wrote on this board:
//
//   build/infer model.engine samples/pictures.npy
//
// Prints the label and score of each image, then the images per second. Compiles with TensorRT 7.1 to 11.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <type_traits>

#include "model.h"
#include "pictures.h"
#include "sidecar.h"

// TensorRT 8.5 and newer address tensors by name. Older versions use indices, which TensorRT 10 removed.
#define TENSORS_BY_NAME (NV_TENSORRT_MAJOR > 8 || (NV_TENSORRT_MAJOR == 8 && NV_TENSORRT_MINOR >= 5))

using Pixel = std::conditional<model::kUint8, std::uint8_t, float>::type;
constexpr int kPixels = model::kChannels * model::kHeight * model::kWidth;

class Logger : public nvinfer1::ILogger {
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kWARNING) std::cerr << "TensorRT: " << message << '\n';
    }
};

struct Delete {
    template <class T>
    void operator()(T* object) const {
#if NV_TENSORRT_MAJOR < 8
        object->destroy();
#else
        delete object;
#endif
    }
};

void check(cudaError_t error, const char* what) {
    if (error != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

class DeviceMemory {
public:
    explicit DeviceMemory(std::size_t bytes) {
        check(cudaMalloc(&address_, bytes),
              "not enough GPU memory; build the engine for smaller batches: python3 build_engine.py --max-batch N");
    }
    ~DeviceMemory() { cudaFree(address_); }
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;
    void* address() const { return address_; }

private:
    void* address_ = nullptr;
};

// Returns the bytes of the engine. Throws if build_engine.py did not write it for this GPU, TensorRT and precision.
std::string read_engine(const std::string& path, std::map<std::string, std::string>& sidecar) {
    const auto reject = [&](const std::string& why) {
        throw std::runtime_error(path + " " + why + "; build it on this board: python3 build_engine.py");
    };
    sidecar = read_sidecar(path + ".json");
    int devices = 0, major = 0, minor = 0;
    check(cudaGetDeviceCount(&devices), "no GPU");
    if (devices == 0) throw std::runtime_error("no GPU");
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "compute capability of the GPU");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0), "compute capability of the GPU");
    const std::string capability = std::to_string(major) + "." + std::to_string(minor);
    if (sidecar["compute_capability"] != capability)
        reject("is for compute capability " + sidecar["compute_capability"] + ", and this GPU has " + capability);
    cudaDeviceProp properties;  // several GPUs share one compute capability
    check(cudaGetDeviceProperties(&properties, 0), "name of the GPU");
    if (sidecar["gpu"] != properties.name) reject("was built for " + sidecar["gpu"] + ", and this is " + properties.name);
    // The version of the loaded library, not of the headers: 8205 is 8.2.5; since TensorRT 10, 100300 is 10.3.0.
    const int number = getInferLibVersion(), unit = number < 10000 ? 1000 : 10000;
    const std::string version =
        std::to_string(number / unit) + "." + std::to_string(number % unit / 100) + "." + std::to_string(number % 100);
    if ((sidecar["tensorrt"] + ".").compare(0, version.size() + 1, version + ".") != 0)
        reject("was built by TensorRT " + sidecar["tensorrt"] + ", and this is " + version);
    if (sidecar["precision"] != model::kPrecision)
        reject("is " + sidecar["precision"] + ", and model.h expects " + model::kPrecision);
    const std::string engine = read_file(path);
    if (sha256(engine) != sidecar["engine_sha256"]) reject("is not the engine that its .json describes");
    return engine;
}

class Classifier {
public:
    explicit Classifier(const std::string& path) {
        std::map<std::string, std::string> sidecar;
        const std::string bytes = read_engine(path, sidecar);
        runtime_.reset(nvinfer1::createInferRuntime(logger_));
        if (!runtime_) throw std::runtime_error("TensorRT cannot create a runtime");
        if (sidecar["dla_core"] != "null") runtime_->setDLACore(std::stoi(sidecar["dla_core"]));
        engine_.reset(runtime_->deserializeCudaEngine(bytes.data(), bytes.size()));
        if (!engine_)
            throw std::runtime_error(path + " cannot be loaded by TensorRT; build it again: python3 build_engine.py");
#if TENSORS_BY_NAME
        const int tensors = engine_->getNbIOTensors();
        const nvinfer1::DataType pixel = model::kUint8 ? nvinfer1::DataType::kUINT8 : nvinfer1::DataType::kFLOAT;
        const bool types = engine_->getTensorDataType(model::kInput) == pixel &&
                           engine_->getTensorDataType(model::kOutput) == nvinfer1::DataType::kFLOAT;
        const auto in = engine_->getTensorShape(model::kInput), out = engine_->getTensorShape(model::kOutput);
#else
        static_assert(!model::kUint8,
                      "TensorRT before 8.5 does not support uint8 pixels; export the bundle for this board's JetPack");
        const int tensors = engine_->getNbBindings();
        input_ = engine_->getBindingIndex(model::kInput);
        output_ = engine_->getBindingIndex(model::kOutput);
        if (input_ < 0 || output_ < 0) throw std::runtime_error(path + " lacks the tensors that model.h names");
        const bool types = engine_->getBindingDataType(input_) == nvinfer1::DataType::kFLOAT &&
                           engine_->getBindingDataType(output_) == nvinfer1::DataType::kFLOAT;
        const auto in = engine_->getBindingDimensions(input_), out = engine_->getBindingDimensions(output_);
#endif
        if (tensors != 2 || !types || in.nbDims != 4 || in.d[1] != model::kChannels || in.d[2] != model::kHeight ||
            in.d[3] != model::kWidth || out.nbDims != 2 || out.d[1] != model::kClasses)
            throw std::runtime_error(path + " has other inputs or outputs than model.h; is it from another bundle?");
        least_ = profile(nvinfer1::OptProfileSelector::kMIN);
        most_ = profile(nvinfer1::OptProfileSelector::kMAX);
        context_.reset(engine_->createExecutionContext());
        if (!context_)
            throw std::runtime_error("not enough memory for the activations; build the engine for smaller batches: "
                                     "python3 build_engine.py --max-batch N");
        pixels_.reset(new DeviceMemory(sizeof(Pixel) * kPixels * most_));
        scores_.reset(new DeviceMemory(sizeof(float) * model::kClasses * most_));
        check(cudaStreamCreate(&stream_), "CUDA stream");
    }
    ~Classifier() {
        if (stream_) cudaStreamDestroy(stream_);
    }

    int least() const { return least_; }
    int most() const { return most_; }

    // Computes the scores of `batch` images, from least() to most(). Copies them to the GPU and the scores back.
    void run(int batch, const Pixel* pixels, float* scores) {
        check(cudaMemcpyAsync(pixels_->address(), pixels, sizeof(Pixel) * kPixels * batch, cudaMemcpyHostToDevice, stream_),
              "copy of images");
        if (!enqueue(batch)) throw std::runtime_error("TensorRT did not run the engine");
        check(cudaMemcpyAsync(scores, scores_->address(), sizeof(float) * model::kClasses * batch, cudaMemcpyDeviceToHost,
                              stream_),
              "copy of scores");
        check(cudaStreamSynchronize(stream_), "inference");
    }

private:
    int profile(nvinfer1::OptProfileSelector which) const {
#if TENSORS_BY_NAME
        return static_cast<int>(engine_->getProfileShape(model::kInput, 0, which).d[0]);
#else
        return engine_->getProfileDimensions(input_, 0, which).d[0];
#endif
    }

    bool enqueue(int batch) {
        nvinfer1::Dims shape{};
        shape.nbDims = 4;
        shape.d[0] = batch;
        shape.d[1] = model::kChannels;
        shape.d[2] = model::kHeight;
        shape.d[3] = model::kWidth;
#if TENSORS_BY_NAME
        return context_->setInputShape(model::kInput, shape) &&
               context_->setTensorAddress(model::kInput, pixels_->address()) &&
               context_->setTensorAddress(model::kOutput, scores_->address()) && context_->enqueueV3(stream_);
#else
        void* bindings[2];
        bindings[input_] = pixels_->address();
        bindings[output_] = scores_->address();
        return context_->setBindingDimensions(input_, shape) && context_->enqueueV2(bindings, stream_, nullptr);
#endif
    }

    // Members are destroyed in reverse order, so each one outlives those that depend on it.
    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime, Delete> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine, Delete> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext, Delete> context_;
    std::unique_ptr<DeviceMemory> pixels_, scores_;
    cudaStream_t stream_ = nullptr;
    int least_ = 0, most_ = 0;
#if !TENSORS_BY_NAME
    int input_ = 0, output_ = 0;
#endif
};

std::vector<std::string> read_labels(const std::string& path) {
    std::vector<std::string> labels;
    std::istringstream lines(read_file(path));
    for (std::string line; std::getline(lines, line);) labels.push_back(line);
    if (labels.size() != static_cast<std::size_t>(model::kClasses))
        throw std::runtime_error(path + " has " + std::to_string(labels.size()) + " lines; expected one class per line, " +
                                 std::to_string(model::kClasses));
    return labels;
}

// Converts images from channels last to channels first and to the input type of the engine.
void arrange(const std::uint8_t* images, int number, Pixel* arranged) {
    constexpr int kPlane = model::kHeight * model::kWidth;
    for (int i = 0; i < number; ++i)
        for (int c = 0; c < model::kChannels; ++c)
            for (int k = 0; k < kPlane; ++k) *arranged++ = images[i * kPixels + k * model::kChannels + c];
}

void classify(const std::string& engine, const std::vector<std::string>& paths) {
    const auto slash = engine.find_last_of('/');
    const auto labels = read_labels((slash == std::string::npos ? "" : engine.substr(0, slash + 1)) + "labels.txt");
    Images images;
    for (const std::string& path : paths) {
        const bool npy = path.size() > 4 && path.compare(path.size() - 4, 4, ".npy") == 0;
        (npy ? add_npy : add_file)(path, images);
    }
    Classifier classifier(engine);
    const int number = static_cast<int>(images.names.size());
    const int batch = std::max(classifier.least(), std::min({model::kBatch, classifier.most(), number}));
    std::vector<Pixel> pixels(static_cast<std::size_t>(batch) * kPixels);
    std::vector<float> scores(static_cast<std::size_t>(batch) * model::kClasses), all;
    classifier.run(batch, pixels.data(), scores.data());  // warm-up: the first run loads kernels
    std::chrono::duration<double> spent{0};
    for (int first = 0; first < number; first += batch) {
        const int taken = std::min(batch, number - first);
        arrange(images.pixels.data() + static_cast<std::size_t>(first) * kPixels, taken, pixels.data());
        const auto start = std::chrono::steady_clock::now();
        classifier.run(std::max(taken, classifier.least()), pixels.data(), scores.data());
        spent += std::chrono::steady_clock::now() - start;
        all.insert(all.end(), scores.begin(), scores.begin() + taken * model::kClasses);
    }
    for (int i = 0; i < number; ++i) {
        const float* of = all.data() + static_cast<std::size_t>(i) * model::kClasses;
        if (!std::all_of(of, of + model::kClasses, [](float score) { return std::isfinite(score); }))
            throw std::runtime_error(images.names[i] + " has scores that are not finite; run python3 verify.py for details");
        const auto best = std::max_element(of, of + model::kClasses) - of;
        std::printf("%s  %s  %.6g\n", images.names[i].c_str(), labels[best].c_str(), of[best]);
    }
    std::printf("%d images in batches of %d: %.1f images/s, including the copies to the GPU and back\n", number, batch,
                number / spent.count());
}

int main(int argc, char** argv) {
    if (argc < 3) {
        std::cerr << "usage: infer ENGINE IMAGES...   for example: infer model.engine samples/pictures.npy\n";
        return 1;
    }
    try {
        classify(argv[1], std::vector<std::string>(argv + 2, argv + argc));
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
