// conv2d_tg_u8: the code that is generated, and who generates it. Cortex-M4 and M7 only.
//
// A unit of code adds up one part of a window for four output channels and four pixels (the lanes
// of a word): the sums, and a finish before them, which the units of a layer can share. The sums
// run first, then the finish, which takes them (or stores them for the next part), moves on by one
// word and jumps back to the sums, until all rows are done. Classes: inputs whose four trits are
// equal or opposite share one sum; a tree then spreads the 40 class sums to the four channels.
// Every sum is a pair of registers of two int16: pixels 0 and 2, pixels 1 and 3. A sum may be held
// negated, as suits the first thing added to it; the sign of each channel's sum is known when the
// code is complete, and goes into its multiplier.
//
// Registers: r0 first word of the window; r1:r2, r3:r4, r5:r6 sums of the tree's three levels;
// r7:r8 and r9:r10 channels 2 and 3; r11, r12, lr inputs. Channel 1 ends in r1:r2, channel 0 on the
// stack. Two inputs of 0..127 are added in bytes (or subtracted: -127..127), then widened and
// added. The loads of a pair stand before the additions of the pair before it, so that no
// instruction waits for a load.
#ifndef TR_KERNELS_CONV2D_TG_U8_GENERATE_HPP
#define TR_KERNELS_CONV2D_TG_U8_GENERATE_HPP

#include <stdint.h>

namespace tr::tg {

// An input of a part: the next of its class (low half of an address) and the load that reads it.
struct Node {
  uint32_t next, load;
};

// Lists of inputs by code: the number of inputs (high half), and the low half of the address
// behind the last one's node.
constexpr uint32_t kHeads = 84;

// What a unit does with the sums of its four channels.
struct Finish {
  enum Kind : uint8_t {
    part,   // store them for the next part
    raw,    // store them as the tensor
    plain,  // requantise
    add8,   // requantise with a u8 operand
    add16,  // requantise with an i16 operand
  } kind;
  uint8_t channels;  // that exist, 1 to 4
  uint8_t shift;
  uint8_t bits;      // of the saturation
  bool in_place;     // the operand lies where the output is written
  bool shared;       // by several pieces of sums: the frame says where these begin
  uint16_t step;     // bytes from window to window
  uint16_t stretch;  // bytes from channel to channel of the output
};

// Signs (1, -1) of the four sums that a unit's code holds; 0 before any.
struct Signs {
  int8_t of[4];
};

// Constants of a unit's four channels, as the finish reads them.
struct Constants {
  int32_t scale[8];   // multiplier, bias by channel
  int32_t scale2[4];  // multiplier of the operand
};

// What a run starts with; the generated code keeps it on the stack, above two pairs of sums.
struct Frame {
  const Constants* constants;
  uint32_t out;  // address of the first word written, and where its row ends
  uint32_t row_end;
  uint32_t code;     // address of the sums, bit 0 set
  uint32_t in_next;  // what to add at the end of a row, in bytes
  uint32_t out_next;
  uint32_t rows;
  uint32_t row_bytes;  // of output
  uint32_t other;      // operand: distance from the output (u8), address (i16); raw: address
  uint32_t partial;    // sums of the parts before
};

// Write a finish at `at`; returns the word behind it, where the sums must follow.
uint32_t* emit_finish(uint32_t* at, const Finish& finish);

// Loads of the inputs of a part: input k is word k / columns * stretch + k % columns.
void prepare_nodes(Node* nodes, uint32_t inputs, uint32_t columns, uint32_t stretch_bytes);

// Write the sums of `count` (a multiple of four) codes at `at`, behind the finish that begins at
// `finish_at`; returns the word behind them. `before`: signs of the parts before, or null.
uint32_t* emit_sums(uint32_t* at, const uint32_t* finish_at, const Finish& finish,
                    const uint8_t* codes, uint32_t count, Node* nodes, uint32_t* heads,
                    const Signs* before, Signs* signs);

}  // namespace tr::tg

extern "C" {

// Sort `count` codes into lists; every head is made anew.
void tr_tg_sort(const uint8_t* codes, uint32_t count, uint32_t* heads, tr::tg::Node* nodes);

// Write the sum of a class (`code` above 40) into a pair of registers. Low word: where the code
// goes on; high word: the sign of the sum, 0 when the class is empty.
uint64_t tr_tg_leaf(uint32_t* at, uint32_t code, const uint32_t* table, const uint32_t* heads);

// Run a unit over all rows: `in` is the first window.
void tr_tg_run(const tr::tg::Frame* frame, const uint32_t* in);
}

#endif
