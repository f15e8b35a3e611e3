// Softmax over the last axis in TensorFlow Lite's fixed-point arithmetic; may run in place.
#ifndef TR_KERNELS_SOFTMAX_I8_HPP
#define TR_KERNELS_SOFTMAX_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void softmax_i8(const SoftmaxI8& layer, const Buffers& at);

}  // namespace tr

#endif
