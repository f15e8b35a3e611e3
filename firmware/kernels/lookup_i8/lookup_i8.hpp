// Any function of one int8 value by a table of its 256 results; may run in place.
#ifndef TR_KERNELS_LOOKUP_I8_HPP
#define TR_KERNELS_LOOKUP_I8_HPP

#include "runtime/int8_layers.hpp"

namespace tr {

void lookup_i8(const LookupI8& layer, const Buffers& at);

}  // namespace tr

#endif
