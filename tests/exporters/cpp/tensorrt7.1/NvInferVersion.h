#pragma once
#define NV_TENSORRT_MAJOR 7
#define NV_TENSORRT_MINOR 1
#define NV_TENSORRT_PATCH 3
