// Reads model.engine.json, in which build_engine.py describes an engine, and computes the hash that identifies the engine.
//
// An engine contains code that TensorRT runs, and some versions crash on an engine that they cannot read. So only engines
// that build_engine.py wrote on a board like this one are loaded.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + " cannot be opened");
    std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (file.bad() || content.empty()) throw std::runtime_error(path + " is empty or cannot be read");
    return content;
}

// Returns the values of a sidecar by key, from lines `"key": value`; strings without their quotes.
inline std::map<std::string, std::string> read_sidecar(const std::string& path) {
    std::map<std::string, std::string> values;
    std::istringstream lines(read_file(path));
    for (std::string line; std::getline(lines, line);) {
        const auto key = line.find('"'), colon = line.find("\": ");
        if (key == std::string::npos || colon == std::string::npos || colon <= key) continue;
        const auto last = line.find_last_not_of(", \r");
        std::string value = line.substr(colon + 3, last - colon - 2);
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
        values[line.substr(key + 1, colon - key - 1)] = value;
    }
    for (const char* key : {"engine_sha256", "tensorrt", "compute_capability", "gpu", "precision", "dla_core"})
        if (!values.count(key))
            throw std::runtime_error(path + " lacks " + key + "; build the engine again: python3 build_engine.py");
    return values;
}

// Returns the SHA-256 of bytes as hexadecimal digits (FIPS 180-4, section 6.2).
inline std::string sha256(const std::string& bytes) {
    static const std::uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    std::array<std::uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const auto rotate = [](std::uint32_t value, int by) { return (value >> by) | (value << (32 - by)); };
    const auto absorb = [&](const char* block) {
        std::uint32_t words[64];
        for (int i = 0; i < 16; ++i) {
            words[i] = 0;
            for (int j = 0; j < 4; ++j) words[i] = (words[i] << 8) | static_cast<std::uint8_t>(block[4 * i + j]);
        }
        for (int i = 16; i < 64; ++i) {
            const auto a = words[i - 15], b = words[i - 2];
            words[i] = words[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >> 3)) + words[i - 7] +
                       (rotate(b, 17) ^ rotate(b, 19) ^ (b >> 10));
        }
        auto s = state;
        for (int i = 0; i < 64; ++i) {
            const auto first = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
                               ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + words[i];
            const auto second =
                (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
            s = {first + second, s[0], s[1], s[2], s[3] + first, s[4], s[5], s[6]};
        }
        for (int i = 0; i < 8; ++i) state[i] += s[i];
    };
    const std::size_t whole = bytes.size() / 64 * 64;
    for (std::size_t i = 0; i < whole; i += 64) absorb(bytes.data() + i);
    std::string rest = bytes.substr(whole) + '\x80';
    rest.resize(rest.size() <= 56 ? 56 : 120, '\0');
    for (int shift = 56; shift >= 0; shift -= 8) rest += static_cast<char>(std::uint64_t{bytes.size()} * 8 >> shift);
    for (std::size_t i = 0; i < rest.size(); i += 64) absorb(rest.data() + i);
    std::string digits;
    for (const auto word : state)
        for (int shift = 28; shift >= 0; shift -= 4) digits += "0123456789abcdef"[word >> shift & 15];
    return digits;
}
