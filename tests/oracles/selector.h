/* Which image of a fatbin container a device takes: the rules of docs/formats.md 7, a third time, in C.
 *
 * Both fakes (fake_cudart.c, stub_libcuda.c) judge by it. It reads headers only and decompresses nothing.
 * test_selector.py compares it cell by cell with nvJitLink 13.5 and with shim.arch.
 */
#ifndef SHIM_ORACLE_SELECTOR_H
#define SHIM_ORACLE_SELECTOR_H

#include <stddef.h>
#include <stdint.h>

#define SHIM_CONTAINER_MAGIC 0xBA55ED50u
#define SHIM_WRAPPER_MAGIC 0x466243B1u

enum shim_outcome { SHIM_NOTHING, SHIM_PTX, SHIM_CUBIN, SHIM_UNPROVEN, SHIM_DAMAGED };

enum { SHIM_IGNORE_CUBINS = 1, SHIM_IGNORE_PTX = 2 };

/* `index` counts entries from 0; `suffix` is 'a', 'f' or 0; `isa` is major * 100 + minor, 0 for machine code. */
struct shim_choice {
  uint32_t outcome, index, arch, isa;
  char suffix;
};

/* container: header and entries, `size` bytes may be read. device: 121 for compute capability 12.1.
 * SHIM_UNPROVEN: the winner is machine code of a lower family member that is not marked to run on `device`
 * (sm_120 of CUDA 12.8 and 12.9). NVIDIA's linker refuses it then, whatever else is in the container. */
struct shim_choice shim_select(const uint8_t *container, size_t size, uint32_t device, uint32_t ignore);

/* Bytes of the container with its header, 0 when there is none. */
size_t shim_container_size(const uint8_t *container);

/* A bare image as driver API users hand it over: a cubin, or PTX text with its NUL. */
struct shim_choice shim_select_image(const uint8_t *image, uint32_t device);

/* Bytes of whatever `image` is (container, cubin, PTX text without NUL), 0 when it is none of them. */
size_t shim_image_size(const uint8_t *image);

#endif
