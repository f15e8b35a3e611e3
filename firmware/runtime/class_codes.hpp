// Ternary weights as class codes, and the order of the classes.
//
// K output channels together see every input with a pattern of K trits. Up to sign there are
// (3^K - 1)/2 patterns that are not all zero: the classes. The inputs of a class are summed once,
// and each output adds and subtracts class sums.
//
// Classes are numbered along the reflected ternary Gray code, in which neighbours differ in one
// trit, by one. Its ranks 0 .. 3^K - 1 are the codes; the middle one is the pattern of zeros, and
// codes r and 3^K - 1 - r are each other's negatives: class r with sign + or -. So if S[k] is the
// running sum over the classes 0..k, never cleared between them, then
//   out_j = sum over k of (t_j[k] - t_j[k + 1]) * S[k],  t[k]: trits of class k,
// in which every S[k] meets exactly one output, with factor +1 or -1.
//
// In flash: per block of K channels, one code per input in the order of the weights, 16, 8, 6 or 4
// of 2, 4, 5 or 8 bits a word for K = 1, 2, 3, 4, low bits first, the last word filled up with the
// code of zeros. Missing channels of the last block have zeros.
#ifndef TR_RUNTIME_CLASS_CODES_HPP
#define TR_RUNTIME_CLASS_CODES_HPP

#include <stddef.h>
#include <stdint.h>

#include "runtime/dsp.hpp"

namespace tr {

constexpr size_t power_of_3(size_t n) { return n == 0 ? 1 : 3 * power_of_3(n - 1); }

template <size_t K>
struct ClassCodes {
  static constexpr size_t codes = power_of_3(K);
  static constexpr size_t classes = (codes - 1) / 2;
  static constexpr size_t zero = classes;  // the code of zeros
  static constexpr size_t bits = K == 1 ? 2 : K == 2 ? 4 : K == 3 ? 5 : 8;
  static constexpr size_t per_word = K == 3 ? 6 : 32 / bits;
};

// Trit `j` (-1, 0, 1) of the pattern of rank `rank` among those of `k` trits.
// (One expression each: C++11 is all that some projects have that take these sources.)
constexpr int gray_trit(size_t k, size_t j, size_t rank) {
  return j == 0 ? static_cast<int>(rank / power_of_3(k - 1)) - 1
                : gray_trit(k - 1, j - 1,
                            rank / power_of_3(k - 1) % 2 != 0
                                ? power_of_3(k - 1) - 1 - rank % power_of_3(k - 1)
                                : rank % power_of_3(k - 1));
}

// The factor of S[k] in output `j`.
constexpr int gray_step(size_t k_trits, size_t j, size_t k) {
  return gray_trit(k_trits, j, k) - gray_trit(k_trits, j, k + 1);
}

// The one output that S[k] meets.
constexpr size_t gray_output(size_t k_trits, size_t k, size_t j = 0) {
  return gray_step(k_trits, j, k) != 0 ? j : gray_output(k_trits, k, j + 1);
}

}  // namespace tr

#endif
