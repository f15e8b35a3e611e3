// port.cpp: tr_port.h in a Linux process. Bytes come from standard input and go to standard output,
// or both over the terminal named by the first argument. Needs POSIX and no C++ library.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tr_image.h"
#include "tr_port.h"

namespace {

constexpr int kIdleMs = 100;  // an idle process sleeps in poll()

int in_fd = STDIN_FILENO;
int out_fd = STDOUT_FILENO;
pid_t parent;
char** arguments;
const char* terminal;
uint8_t pending[4096];
uint32_t pending_at;
uint32_t pending_bytes;
const uint8_t* image;
uint32_t image_bytes;

// glibc hands argc and argv to constructors; main() in app/ takes none.
__attribute__((constructor)) void keep_arguments(int argc, char** argv) {
  parent = getppid();
  arguments = argv;
  terminal = argc > 1 ? argv[1] : nullptr;
}

[[noreturn]] void fail(const char* what) {
  (void)!write(STDERR_FILENO, "tinyrobust host port: cannot open ", 34);
  uint32_t length = 0;
  while (what[length] != 0) ++length;
  (void)!write(STDERR_FILENO, what, length);
  (void)!write(STDERR_FILENO, "\n", 1);
  _exit(2);
}

void open_terminal() {
  const int fd = open(terminal, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) fail(terminal);
  termios settings;
  if (tcgetattr(fd, &settings) == 0) {
    cfmakeraw(&settings);
    (void)tcsetattr(fd, TCSANOW, &settings);
  }
  in_fd = fd;
  out_fd = fd;
}

// The image of a process is its executable; the .bin file is a copy of it.
void map_image() {
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) fail("/proc/self/exe");
  void* mapped = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
  if (mapped == MAP_FAILED) fail("/proc/self/exe");
  close(fd);
  image = static_cast<const uint8_t*>(mapped);
  image_bytes = static_cast<uint32_t>(status.st_size);
}

void fill() {
  pollfd wait = {in_fd, POLLIN, 0};
  if (poll(&wait, 1, kIdleMs) <= 0) return;
  const ssize_t got = read(in_fd, pending, sizeof pending);
  if (got > 0) {
    pending_at = 0;
    pending_bytes = static_cast<uint32_t>(got);
  } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
    // End of input. A terminal whose other side is closed for now says EIO: wait for the next one,
    // as long as whoever started us is there.
    if (errno != EIO || got == 0 || getppid() != parent) exit(0);
    (void)usleep(kIdleMs * 1000);
  }
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  if (terminal != nullptr && in_fd == STDIN_FILENO) open_terminal();
  if (image == nullptr) map_image();
}

int tr_port_read(void) {
  if (pending_at == pending_bytes) {
    pending_at = pending_bytes = 0;
    fill();
    if (pending_bytes == 0) return -1;
  }
  return pending[pending_at++];
}

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  while (bytes != 0) {
    const ssize_t sent = write(out_fd, data, bytes);
    if (sent < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      if (errno == EIO) return;  // nobody listens for now
      exit(0);
    }
    data += sent;
    bytes -= static_cast<uint32_t>(sent);
  }
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

// There is no wire: any rate up to the board file's is accepted.
int tr_port_set_baud(uint32_t baud) { return baud != 0 && baud <= tr_board_baud_max ? 1 : 0; }

// Nanoseconds of CLOCK_MONOTONIC; wraps every 4.3 s.
uint32_t tr_port_cycles(void) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint32_t>(static_cast<uint64_t>(now.tv_sec) * 1000000000u +
                               static_cast<uint64_t>(now.tv_nsec));
}

uint32_t tr_port_clock_hz(void) { return 1000000000u; }
int tr_port_is_virtual(void) { return 1; }

const uint8_t* tr_port_image(void) { return image; }
uint32_t tr_port_image_bytes(void) { return image_bytes; }

// The kernel owns the process's stack, which grows on demand and is not painted: nothing to
// measure, so the range is empty.
const uint32_t* tr_port_stack_low(void) { return nullptr; }
const uint32_t* tr_port_stack_high(void) { return nullptr; }

const char* tr_port_board(void) { return tr_board_id; }

void tr_port_reset(void) {
  execv("/proc/self/exe", arguments);
  _exit(2);
}

}  // extern "C"
