// Which taps of a window lie in the input, along one axis.
#ifndef TR_RUNTIME_INT8_WINDOWS_HPP
#define TR_RUNTIME_INT8_WINDOWS_HPP

#include "runtime/dsp.hpp"
#include "runtime/int8_layers.hpp"

namespace tr {

// Taps first..end - 1 of a window of `taps` taps, `dilation` apart, whose tap 0 is at `origin`
// (negative in the padding), on an axis of `length` elements. None: first == end.
struct Taps {
  uint32_t first, end;
};

TR_INLINE Taps taps_inside(int32_t origin, uint32_t taps, uint32_t dilation, uint32_t length) {
  const int32_t reach = static_cast<int32_t>(length) - origin;  // from tap 0 to the axis' end
  uint32_t first = 0;
  if (origin < 0) first = (static_cast<uint32_t>(-origin) + dilation - 1) / dilation;
  uint32_t end = reach <= 0 ? 0 : (static_cast<uint32_t>(reach) + dilation - 1) / dilation;
  if (end > taps) end = taps;
  return {first < end ? first : end, end};
}

}  // namespace tr

#endif
