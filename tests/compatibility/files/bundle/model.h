// LeNet-5 (1998); written with this bundle, from bundle.json. infer.cpp is compiled for this model.
#pragma once

namespace model {
constexpr const char* kInput = "pictures";  // (batch, channels, height, width), raw pixels of 0 to 255
constexpr const char* kOutput = "scores";  // (batch, classes) float
constexpr int kChannels = 1;
constexpr int kHeight = 28;
constexpr int kWidth = 28;
constexpr int kClasses = 10;
constexpr bool kUint8 = false;  // type of the pixels; float where not
constexpr const char* kPrecision = "fp16";
constexpr int kBatch = 8;  // so many pictures at a time are fast
constexpr const char* kResize = "pad";  // how a picture of another size is brought to this one: pad, crop or stretch
constexpr int kCropFrom = 0;  // side of the square of which the middle is cut out; 0 for none
}  // namespace model
