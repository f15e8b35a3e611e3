// port.cpp: tr_port.h on an nRF52840 behind a bootloader: UART0 on two header pins, DWT, device id.
// PS is the nRF52840 Product Specification v1.7 (Nordic, 4413_417); each peripheral has a chapter
// of its own there, named beside it. DDI0403 is the Armv7-M Architecture Reference Manual.
//
// The UART is the one without EasyDMA (PS, "UART"), which shares its registers with UARTE0: it
// keeps six received bytes, and each can be taken out at once, where EasyDMA says how many bytes
// have come only when a whole buffer is full.
#include "armv7m.hpp"
#include "quiet.hpp"
#include "tr_image.h"
#include "tr_port.h"

namespace {

using tr::armv7m::reg;

// PS, "CLOCK - Clock control"
constexpr uint32_t kHfclkStart = 0x40000000u;
constexpr uint32_t kHfclkStarted = 0x40000100u;
constexpr uint32_t kHfclkStat = 0x4000040Cu;
constexpr uint32_t kCrystalRuns = 1u << 16 | 1u;  // STATE, SRC = Xtal
// PS, "POWER - Power supply": DCDCEN is REG1, whose coil is on the module
constexpr uint32_t kDcdcen = 0x40000578u;
// PS, "NVMC - Non-volatile memory controller"
constexpr uint32_t kNvmcReady = 0x4001E400u;
constexpr uint32_t kIcachecnf = 0x4001E540u;
// PS, "Access port protection"; UICR: "User information configuration registers"
constexpr uint32_t kUicrApprotect = 0x10001208u;
constexpr uint32_t kApprotectDisable = 0x40000558u;
constexpr uint32_t kHwDisabled = 0x5Au;
constexpr uint32_t kSwDisable = 0x5Au;
// PS, "GPIO - General purpose input/output": port 1
constexpr uint32_t kP1 = 0x50000300u;
constexpr uint32_t kOutset = kP1 + 0x508u;
constexpr uint32_t kPinCnf = kP1 + 0x700u;
// PS, "UART - Universal asynchronous receiver/transmitter"
constexpr uint32_t kUart0 = 0x40002000u;
constexpr uint32_t kStartRx = kUart0 + 0x000u;
constexpr uint32_t kStartTx = kUart0 + 0x008u;
constexpr uint32_t kRxdrdy = kUart0 + 0x108u;
constexpr uint32_t kTxdrdy = kUart0 + 0x11Cu;
constexpr uint32_t kError = kUart0 + 0x124u;
constexpr uint32_t kErrorsrc = kUart0 + 0x480u;
constexpr uint32_t kEnable = kUart0 + 0x500u;
constexpr uint32_t kPselRts = kUart0 + 0x508u;
constexpr uint32_t kPselTxd = kUart0 + 0x50Cu;
constexpr uint32_t kPselCts = kUart0 + 0x510u;
constexpr uint32_t kPselRxd = kUart0 + 0x514u;
constexpr uint32_t kRxd = kUart0 + 0x518u;
constexpr uint32_t kTxd = kUart0 + 0x51Cu;
constexpr uint32_t kBaudrate = kUart0 + 0x524u;
constexpr uint32_t kConfig = kUart0 + 0x56Cu;
constexpr uint32_t kUartEnabled = 4u;
constexpr uint32_t kDisconnected = 0xFFFFFFFFu;

// Arduino, ABX00030 datasheet, "Connector pinouts": TX is P1.03, RX is P1.10. PSEL: pin | port
// << 5.
constexpr uint32_t kTxPin = 3u;
constexpr uint32_t kRxPin = 10u;
constexpr uint32_t kPort1 = 1u << 5;

constexpr uint32_t kClockHz = 64000000u;   // PS, "CPU": fixed
constexpr uint32_t kImageBase = 0u;        // PS, "Memory map": all of the flash, which the MPU
constexpr uint32_t kFlashLog2Bytes = 20u;  // makes read-only, the bootloader included

// PS, "FICR - Factory information configuration registers": DEVICEID (64 random bits) and
// DEVICEADDR (48). The virtual board puts this text there.
constexpr uint32_t kDeviceId = 0x10000060u;
constexpr uint32_t kDeviceAddr = 0x100000A4u;
constexpr uint32_t kVirtualId[3] = {0x54524956u, 0x424C4155u, 0x4452414Fu};  // "VIRTUALBOARD"

struct Rate {
  uint32_t baud, setting;
};
// PS, UART, "BAUDRATE": the rates it lists that a protocol session may ask for.
constexpr Rate kRates[] = {
    {1200u, 0x0004F000u},   {2400u, 0x0009D000u},   {4800u, 0x0013B000u},   {9600u, 0x00275000u},
    {14400u, 0x003B0000u},  {19200u, 0x004EA000u},  {28800u, 0x0075F000u},  {38400u, 0x009D5000u},
    {57600u, 0x00EBF000u},  {76800u, 0x013A9000u},  {115200u, 0x01D7E000u}, {230400u, 0x03AFB000u},
    {250000u, 0x04000000u}, {460800u, 0x075F7000u}, {921600u, 0x0EBED000u}, {1000000u, 0x10000000u},
};
constexpr uint32_t kDefaultRate = 0x01D7E000u;

// The debugger keeps its access when the chip is unlocked: from revision F0 on, hardware locks the
// access port at every reset until both UICR.APPROTECT and this register say otherwise (PS, "Access
// port protection controlled by hardware and software"). On older revisions the register does
// nothing. A chip whose owner has locked it stays locked.
void keep_debug_access() {
  if ((reg(kUicrApprotect) & 0xFFu) == kHwDisabled) reg(kApprotectDisable) = kSwDisable;
}

void clocks_on() {
  // The core runs at 64 MHz from reset; what is missing is the crystal, without which 64 MHz is
  // +-1.5 % and too loose for a UART (PS, CLOCK, "64 MHz internal oscillator (HFINT)").
  reg(kHfclkStarted) = 0;
  reg(kHfclkStart) = 1u;
  while ((reg(kHfclkStat) & kCrystalRuns) != kCrystalRuns) {
  }
  reg(kDcdcen) = 1u;
  while ((reg(kNvmcReady) & 1u) == 0) {
  }
  reg(kIcachecnf) = 1u;  // CACHEEN: flash has wait states, the cache answers without
}

void serial_on(uint32_t setting) {
  // PS, UART, "Shared resources" and "Pin configuration": UARTE0 off, pins set up while it is off.
  reg(kEnable) = 0;
  reg(kOutset) = 1u << kTxPin;           // idle is high
  reg(kPinCnf + 4u * kTxPin) = 3u;       // DIR output, INPUT disconnected
  reg(kPinCnf + 4u * kRxPin) = 3u << 2;  // DIR input, INPUT connected, pull-up
  reg(kPselTxd) = kPort1 | kTxPin;
  reg(kPselRxd) = kPort1 | kRxPin;
  reg(kPselRts) = kDisconnected;
  reg(kPselCts) = kDisconnected;
  reg(kConfig) = 0;  // no flow control, no parity, one stop bit
  reg(kBaudrate) = setting;
  reg(kEnable) = kUartEnabled;
  reg(kErrorsrc) = reg(kErrorsrc);  // written ones clear
  reg(kError) = 0;
  reg(kRxdrdy) = 0;
  reg(kTxdrdy) = 0;
  reg(kStartTx) = 1u;
  reg(kStartRx) = 1u;
}

}  // namespace

extern "C" {

void tr_port_init(void) {
  tr::nrf52::quiet();
  keep_debug_access();
  clocks_on();
  tr::armv7m::protect(kImageBase, kFlashLog2Bytes);
  tr::armv7m::cycle_counter_on();
  serial_on(kDefaultRate);
}

int tr_port_read(void) {
  tr::nrf52::feed_watchdog();
  if (reg(kError) != 0) {  // the protocol's CRC finds what is lost
    reg(kError) = 0;
    reg(kErrorsrc) = reg(kErrorsrc);
  }
  if (reg(kRxdrdy) == 0) return -1;
  // The event first: reading RXD moves the next byte there, and its event must not be lost (PS,
  // UART, "Reception").
  reg(kRxdrdy) = 0;
  return static_cast<int>(reg(kRxd) & 0xFFu);
}

void tr_port_write(const uint8_t* data, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; ++i) {
    // PS, UART, "Transmission": TXDRDY comes when the byte is sent; only then the next.
    reg(kTxdrdy) = 0;
    reg(kTxd) = data[i];
    while (reg(kTxdrdy) == 0) {
    }
  }
}

uint32_t tr_port_baud_max(void) { return tr_board_baud_max; }

int tr_port_set_baud(uint32_t baud) {
  if (baud > tr_board_baud_max) return 0;
  for (const Rate& rate : kRates) {
    if (rate.baud == baud) {
      serial_on(rate.setting);  // everything has left: tr_port_write waits for TXDRDY
      return 1;
    }
  }
  return 0;
}

uint32_t tr_port_cycles(void) { return tr::armv7m::cycle_counter(); }
uint32_t tr_port_clock_hz(void) { return kClockHz; }

int tr_port_is_virtual(void) {
  return reg(kDeviceId) == kVirtualId[0] && reg(kDeviceId + 4u) == kVirtualId[1] &&
         reg(kDeviceAddr) == kVirtualId[2];
}

const char* tr_port_board(void) { return tr_board_id; }

}  // extern "C"
