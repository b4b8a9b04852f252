// Which bytes of a window a span really needs. Of the 32 KiB before a checkpoint the following
// blocks refer to a part only, mostly in their first kilobytes; the rest need not be kept.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>

#include "span_record.h"

namespace ocimount {

using WindowUsage = std::bitset<kWindowSize>;

/// Decodes the deflate blocks in `bytes` from bit `first_bit` on until 32 KiB of output were passed
/// or the stream ends, and sets a bit for each byte of the window before it that a distance refers
/// to; the window's last byte is the one just before the span. Gives false where the bytes are not
/// deflate as far as that, or end before: then all may be needed.
bool FindWindowUsage(const uint8_t* bytes, size_t size, unsigned first_bit, WindowUsage* used);

}  // namespace ocimount
