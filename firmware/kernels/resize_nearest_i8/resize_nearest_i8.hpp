// Nearest-neighbour resizing by tables of rows and columns.
#ifndef TR_KERNELS_RESIZE_NEAREST_I8_HPP
#define TR_KERNELS_RESIZE_NEAREST_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void resize_nearest_i8(const ResizeI8& layer, const Buffers& at);

}  // namespace tr

#endif
