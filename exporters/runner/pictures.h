// Reads raw images from .npy files and, with OpenCV, from PNG and JPEG files.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "model.h"
#include "sidecar.h"

struct Images {
    std::vector<std::string> names;
    std::vector<std::uint8_t> pixels;  // (images, height, width, channels)
};

// Appends the images of a .npy file, (n, height, width, channels) uint8.
inline void add_npy(const std::string& path, Images& images) {
    const std::string file = read_file(path);
    const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<std::uint8_t>(file[i])); };
    if (file.size() < 12 || file.compare(0, 6, "\x93NUMPY") != 0) throw std::runtime_error(path + " is not a .npy file");
    // The length of the header has two bytes in version 1 of the format and four bytes in later versions.
    const std::size_t start = byte(6) == 1 ? 10 : 12;
    const std::size_t length = byte(8) + (byte(9) << 8) + (start == 12 ? (byte(10) << 16) + (byte(11) << 24) : 0);
    if (length > file.size() - start) throw std::runtime_error(path + " is truncated");
    const std::string header = file.substr(start, length);
    const auto shape = header.find("'shape': (");
    if (header.find("'descr': '|u1'") == std::string::npos || header.find("'fortran_order': False") == std::string::npos ||
        shape == std::string::npos)
        throw std::runtime_error(path + " must contain uint8 images in C order; its header is " + header);
    const std::string sizes = header.substr(shape + 10, header.find(')', shape) - shape - 10);
    const std::string expected =
        std::to_string(model::kHeight) + ", " + std::to_string(model::kWidth) + ", " + std::to_string(model::kChannels);
    const auto comma = sizes.find(", ");
    if (comma == std::string::npos || sizes.substr(comma + 2) != expected)
        throw std::runtime_error(path + " contains (" + sizes + "); expected (n, " + expected + ")");
    // The number of images follows from the file size, and the header must agree.
    const std::size_t size = std::size_t{1} * model::kHeight * model::kWidth * model::kChannels,
                      bytes = file.size() - start - length;
    const std::size_t number = bytes / size;
    if (number == 0 || bytes % size || sizes.substr(0, comma) != std::to_string(number))
        throw std::runtime_error(path + " has shape (" + sizes + ") but " + std::to_string(bytes) +
                                 " bytes of pixels; it is damaged");
    images.pixels.insert(images.pixels.end(), file.end() - static_cast<std::ptrdiff_t>(bytes), file.end());
    for (std::size_t i = 0; i < number; ++i) images.names.push_back(path + "[" + std::to_string(i) + "]");
}

struct Image {
    int height, width, channels;
    std::vector<std::uint8_t> pixels;  // (height, width, channels)

    Image(int h, int w, int c) : height(h), width(w), channels(c), pixels(std::size_t{1} * h * w * c) {}
    std::uint8_t& at(int y, int x, int c) { return pixels[(std::size_t{1} * y * width + x) * channels + c]; }
    std::uint8_t at(int y, int x, int c) const { return pixels[(std::size_t{1} * y * width + x) * channels + c]; }
};

struct Weights {
    int first;
    std::vector<int> of;  // in units of 2^-22
};

// Returns the weights of `length` old pixels for each of `size` new pixels, which span `from` to `to`: a triangle filter as
// wide as a new pixel, in Pillow's fixed-point arithmetic. The result is bit-identical to preprocessing in training.
inline std::vector<Weights> triangles(int length, float from, float to, int size) {
    const double scale = static_cast<double>(to - from) / size, support = std::max(scale, 1.0);
    std::vector<Weights> all;
    for (int i = 0; i < size; ++i) {
        const double center = from + (i + 0.5) * scale;
        const int first = std::max(0, static_cast<int>(center - support + 0.5));
        const int last = std::min(length, static_cast<int>(center + support + 0.5));
        std::vector<double> exact;
        double sum = 0;
        for (int j = first; j < last; ++j) {
            exact.push_back(std::max(0.0, 1 - std::abs((j - center + 0.5) * (1 / support))));
            sum += exact.back();
        }
        Weights weights{first, {}};
        for (const double each : exact)
            weights.of.push_back(static_cast<int>(0.5 + (sum != 0 ? each / sum : each) * (1 << 22)));
        all.push_back(weights);
    }
    return all;
}

inline Image resample(const Image& image, const std::vector<Weights>& weights, bool columns) {
    const int size = static_cast<int>(weights.size());
    Image result(columns ? image.height : size, columns ? size : image.width, image.channels);
    for (int y = 0; y < result.height; ++y)
        for (int x = 0; x < result.width; ++x)
            for (int c = 0; c < result.channels; ++c) {
                const Weights& taken = weights[columns ? x : y];
                int sum = 1 << 21;
                for (int k = 0; k < static_cast<int>(taken.of.size()); ++k)
                    sum += taken.of[k] * (columns ? image.at(y, taken.first + k, c) : image.at(taken.first + k, x, c));
                result.at(y, x, c) = static_cast<std::uint8_t>(std::min(std::max(sum >> 22, 0), 255));
            }
    return result;
}

inline Image resize(Image image, int height, int width, float top, float left, float bottom, float right) {
    const bool columns = width != image.width || left != 0 || right != width;
    const bool rows = height != image.height || top != 0 || bottom != height;
    const auto across = triangles(image.width, left, right, width), down = triangles(image.height, top, bottom, height);
    // Each pass rounds, so the order matters: Pillow 13 resizes the rows first if they shrink much more than the columns.
    const bool rows_first = image.height > height && image.height - height > 2 * (image.width - width);
    if (rows && rows_first) image = resample(image, down, false);
    if (columns) image = resample(image, across, true);
    if (rows && !rows_first) image = resample(image, down, false);
    return image;
}

inline Image resize(const Image& image, int height, int width) {
    return resize(image, height, width, 0, 0, static_cast<float>(image.height), static_cast<float>(image.width));
}

// Crops an image at its center, or pads it with black around the center.
inline Image middle(const Image& image, int height, int width) {
    Image result(height, width, image.channels);
    const auto border = [](int outer, int inner) {  // odd borders: crop as training does, pad as Pillow does (half to even)
        return outer < inner ? (outer - inner) / 2 : -static_cast<int>(std::nearbyint((outer - inner) * 0.5));
    };
    const int top = height <= image.height ? (image.height - height) / 2 : border(height, image.height);
    const int left = width <= image.width ? (image.width - width) / 2 : border(width, image.width);
    for (int y = std::max(0, -top); y < std::min(height, image.height - top); ++y)
        for (int x = std::max(0, -left); x < std::min(width, image.width - left); ++x)
            for (int c = 0; c < image.channels; ++c) result.at(y, x, c) = image.at(y + top, x + left, c);
    return result;
}

// Resizes an image to the model's input size as training does: "pad" adds black bars, "crop" crops the center, and "stretch"
// changes the aspect ratio. With kCropFrom, it resizes to that size and then crops the center.
inline Image conform(Image image) {
    const int height = model::kCropFrom ? model::kCropFrom : model::kHeight,
              width = model::kCropFrom ? model::kCropFrom : model::kWidth;
    const std::string how = model::kResize;
    if (image.height != height || image.width != width) {
        const double ratio = 1.0 * image.width / image.height, wanted = 1.0 * width / height;
        if (how == "stretch") {
            image = resize(image, height, width);
        } else if (how == "crop") {
            const double wide = ratio > wanted ? wanted * image.height : image.width,
                         high = ratio < wanted ? image.width / wanted : image.height;
            const double left = (image.width - wide) * 0.5, top = (image.height - high) * 0.5;
            image = resize(image, height, width, static_cast<float>(top), static_cast<float>(left),
                           static_cast<float>(top + high), static_cast<float>(left + wide));
        } else {
            int high = height, wide = width;
            if (ratio > wanted)
                high = std::max(1, static_cast<int>(std::nearbyint(1.0 * image.height / image.width * width)));
            if (ratio < wanted)
                wide = std::max(1, static_cast<int>(std::nearbyint(1.0 * image.width / image.height * height)));
            image = middle(resize(image, high, wide), height, width);
        }
    }
    return middle(image, model::kHeight, model::kWidth);
}

#ifdef ZOO_OPENCV
#include <opencv2/imgcodecs.hpp>

// Appends an image file. Pixels of a JPEG can differ from training by 1 of 255 if OpenCV uses another JPEG decoder.
inline void add_file(const std::string& path, Images& images) {
    const cv::Mat any = cv::imread(path, cv::IMREAD_UNCHANGED);
    if (any.empty()) throw std::runtime_error(path + " is missing, damaged, or not an image");
    if (any.channels() == 2 || any.channels() == 4)
        throw std::runtime_error(path + " has transparency; use infer.py");
    const cv::Mat bgr = cv::imread(path, cv::IMREAD_COLOR);  // 8 bits, rotated according to EXIF
    Image image(bgr.rows, bgr.cols, model::kChannels);
    for (int y = 0; y < bgr.rows; ++y)
        for (int x = 0; x < bgr.cols; ++x) {
            const std::uint8_t* pixel = bgr.ptr(y, x);
            if (model::kChannels == 1)  // ITU-R 601 in Pillow's fixed-point arithmetic
                image.at(y, x, 0) =
                    static_cast<std::uint8_t>((pixel[2] * 19595 + pixel[1] * 38470 + pixel[0] * 7471 + 0x8000) >> 16);
            else
                for (int c = 0; c < model::kChannels; ++c) image.at(y, x, c) = pixel[2 - c];
        }
    image = conform(image);
    images.pixels.insert(images.pixels.end(), image.pixels.begin(), image.pixels.end());
    images.names.push_back(path);
}
#else
inline void add_file(const std::string& path, Images&) {
    throw std::runtime_error(path +
                             " is no .npy file, and infer was built without OpenCV; use infer.py, or build it with OpenCV");
}
#endif
