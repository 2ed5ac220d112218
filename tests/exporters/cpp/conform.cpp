// Writes to standard output what pictures.h makes of the raw picture on standard input; arguments: height and width.
#include <cstdio>
#include <cstdlib>

#include "pictures.h"

int main(int, char** words) {
    Image image(std::atoi(words[1]), std::atoi(words[2]), model::kChannels);
    if (std::fread(image.pixels.data(), 1, image.pixels.size(), stdin) != image.pixels.size()) return 1;
    image = conform(image);
    return std::fwrite(image.pixels.data(), 1, image.pixels.size(), stdout) != image.pixels.size();
}
