// What pictures.h uses of OpenCV, declared from its documentation: docs.opencv.org, cv::Mat and cv::imread.
#pragma once
#include <string>

namespace cv {
class Mat {
public:
    int rows, cols;
    bool empty() const;
    int channels() const;
    const unsigned char* ptr(int row, int column) const;
};
enum ImreadModes { IMREAD_UNCHANGED = -1, IMREAD_COLOR = 1 };
Mat imread(const std::string& filename, int flags);
}  // namespace cv
