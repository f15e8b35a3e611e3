// core.hpp: the core's own functions under a name that ports of several architectures can use.
#ifndef TR_CORE_HPP
#define TR_CORE_HPP

#include "armv8m.hpp"

namespace tr {
namespace core = armv8m;
}

#endif
