// Values elsewhere: transposed, repeated, turned or cut out, by six nested loops.
#ifndef TR_KERNELS_REARRANGE_I8_HPP
#define TR_KERNELS_REARRANGE_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void rearrange_i8(const RearrangeI8& layer, const Buffers& at);

}  // namespace tr

#endif
