#ifndef ZEPHYR_DEVICE_H
#define ZEPHYR_DEVICE_H
#include <stdbool.h>
struct device {
  const char* name;
};
extern const struct device console_uart;
#define DT_CHOSEN(name) name
#define DEVICE_DT_GET(node) DEVICE_OF(node)
#define DEVICE_OF(node) DEVICE_OF_##node
#define DEVICE_OF_zephyr_console (&console_uart)
static inline bool device_is_ready(const struct device* device) { return device->name != 0; }
#endif
