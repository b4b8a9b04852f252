// A window in packed form: the bytes that a span refers to, and where they belong.
//
//   0  1  0: what follows is as it is; 1: it is raw deflate
//   1  2  number of runs
//         runs: u16 bytes left out before it, u16 length less one
//         the bytes of all runs
//
// Little-endian; offsets from 1 on are those of the inflated form. The runs end within 32 KiB.
#pragma once

#include <cstdint>
#include <vector>

#include "window_usage.h"

namespace ocimount {

/// Packs a window of 32 KiB; gives nothing where no byte of it is used.
std::vector<uint8_t> PackWindow(const uint8_t* window, const WindowUsage& used);

/// Unpacks to 32 KiB, zeros where bytes were left out. Gives false for bytes that PackWindow never
/// makes.
bool UnpackWindow(const uint8_t* packed, size_t size, uint8_t* window);

}  // namespace ocimount
