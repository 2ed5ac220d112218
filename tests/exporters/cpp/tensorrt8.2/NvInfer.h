// What infer.cpp uses of TensorRT 8.2, declared from its documentation:
// docs.nvidia.com/deeplearning/tensorrt/archives/tensorrt-825/api/c_api
// pages classnvinfer1_1_1_ + i_runtime, i_cuda_engine, i_execution_context, i_logger, and namespacenvinfer1.
// Objects can be deleted; tensors go by position.
#pragma once
#include <cstddef>
#include <cstdint>

#include <cuda_runtime_api.h>

#include "NvInferVersion.h"

namespace nvinfer1 {
struct Dims {
    std::int32_t nbDims;
    std::int32_t d[8];
};
enum class DataType : std::int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3, kBOOL = 4 };
enum class OptProfileSelector : std::int32_t { kMIN = 0, kOPT = 1, kMAX = 2 };

class ILogger {
public:
    enum class Severity : std::int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
    virtual void log(Severity severity, const char* message) noexcept = 0;
    virtual ~ILogger() = default;
};

class IExecutionContext {
public:
    bool setBindingDimensions(std::int32_t index, Dims shape) noexcept;
    bool enqueueV2(void* const* bindings, cudaStream_t stream, cudaEvent_t* consumed) noexcept;
    virtual ~IExecutionContext() noexcept;
    void destroy() noexcept;
};

class ICudaEngine {
public:
    std::int32_t getNbBindings() const noexcept;
    std::int32_t getBindingIndex(const char* name) const noexcept;
    Dims getBindingDimensions(std::int32_t index) const noexcept;
    DataType getBindingDataType(std::int32_t index) const noexcept;
    Dims getProfileDimensions(std::int32_t index, std::int32_t profile, OptProfileSelector which) const noexcept;
    IExecutionContext* createExecutionContext() noexcept;
    virtual ~ICudaEngine() noexcept;
    void destroy() noexcept;
};

class IRuntime {
public:
    void setDLACore(std::int32_t core) noexcept;
    ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept;
    virtual ~IRuntime() noexcept;
    void destroy() noexcept;
};

IRuntime* createInferRuntime(ILogger& logger) noexcept;
}  // namespace nvinfer1

extern "C" std::int32_t getInferLibVersion() noexcept;
