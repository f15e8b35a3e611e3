// Code that a kernel generates into RAM: who may write it, and when it may be run.
//
// The buffer is either writable or executable. A kernel calls tr_code_open() before it writes,
// tr_code_close() when the code is complete; then the new instructions are what the core fetches
// (DDI0403 A3.8, "Caches and memory hierarchy"; PM0253, "Cache maintenance operations"): stores
// have reached memory, a data cache has written them back, an instruction cache forgets what it
// held there, and the pipeline refetches.
#ifndef TR_RUNTIME_CODE_RAM_HPP
#define TR_RUNTIME_CODE_RAM_HPP

#include <stdint.h>

extern "C" {

// Executable buffers become writable and cannot be executed.
void tr_code_open(void);

// The `bytes` from `start` on may be executed; nothing in executable buffers can be written.
void tr_code_close(const void* start, uint32_t bytes);

// What a port can add where it has a memory protection unit; the runtime's own does nothing.
void tr_port_code_writable(int writable);

}  // extern "C"

#endif
