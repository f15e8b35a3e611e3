// Bilinear resizing in 10-bit fixed point, by tables of rows and columns and their weights.
#ifndef TR_KERNELS_RESIZE_BILINEAR_I8_HPP
#define TR_KERNELS_RESIZE_BILINEAR_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void resize_bilinear_i8(const BilinearI8& layer, const Buffers& at);

}  // namespace tr

#endif
