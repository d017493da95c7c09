#include "selector.h"

#include <stdlib.h>
#include <string.h>

enum { KIND_PTX = 1, KIND_CUBIN = 2, HEADER = 16, ENTRY = 64, COMPAT_SECTION = 0x70000086 };
enum { FLAG_A = 1 << 20, FLAG_F = 1 << 21, FLAG_COMPAT = 1 << 24, FLAG_64 = 1 };

static uint16_t u16(const uint8_t *at) {
  uint16_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint32_t u32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint64_t u64(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint32_t today(uint32_t arch) { return arch == 101 ? 110 : arch; }

static int family(uint32_t arch) {
  switch (arch) {
    case 100: case 103: case 107: return 1;
    case 110: return 2;
    case 120: case 121: return 3;
    default: return 0;
  }
}

static int loads(uint32_t kind, uint32_t arch, char suffix, uint32_t device) {
  if (suffix == 'a') return arch == device;
  if (suffix == 'f' && (family(arch) == 0 || family(arch) != family(device))) return 0;
  if (kind == KIND_CUBIN && arch / 10 != device / 10) return 0;
  return arch <= device;
}

/* Record 0x0B of .nv.compat: which later members of the family run the code as it is. The bits were found one by one
 * with nvJitLink 13.5. */
static int fast_path_bit(uint32_t device) { return device == 103 ? 3 : device == 107 ? 8 : device == 121 ? 6 : -1; }

static int marked(const uint8_t *compat, size_t size, uint32_t device) {
  for (size_t at = 0; at + 4 <= size;) {
    uint8_t form = compat[at], attribute = compat[at + 1];
    size_t length = form == 4 ? 4u + u16(compat + at + 2) : 4u;
    if (at + length > size) return 0;
    if (form == 4 && attribute == 0x0B && length >= 12) {
      int bit = fast_path_bit(device);
      return bit < 0 || (u64(compat + at + 4) >> bit & 1);
    }
    at += length;
  }
  return 0;
}

/* Bit 24 says that the header holds a copy of .nv.compat; without it the plain rule stands. */
static int entry_marked(const uint8_t *entry, uint32_t device) {
  if (!(u64(entry + 0x28) & FLAG_COMPAT)) return 1;
  uint32_t header = u32(entry + 4), descriptor = u32(entry + 0x14);
  if (descriptor < ENTRY || descriptor > header - 8) return 0;
  uint32_t start = u32(entry + descriptor), length = u32(entry + descriptor + 4);
  if (start >= header || length > header - start - 1) return 0;
  return marked(entry + start + 1, length, device); /* an empty option text's NUL comes first */
}

size_t shim_container_size(const uint8_t *container) {
  if (u32(container) != SHIM_CONTAINER_MAGIC) return 0;
  return u16(container + 6) + u64(container + 8);
}

struct shim_choice shim_select(const uint8_t *container, size_t size, uint32_t device, uint32_t ignore) {
  struct shim_choice best = {SHIM_NOTHING, 0, 0, 0, 0};
  struct shim_choice damaged = {SHIM_DAMAGED, 0, 0, 0, 0};
  uint64_t best_rank = 0;
  int best_marked = 1;
  if (size < HEADER || u32(container) != SHIM_CONTAINER_MAGIC || u16(container + 4) != 1) return damaged;
  size_t at = u16(container + 6);
  if (at < HEADER || at > size || u64(container + 8) > size - at) return damaged;
  size = at + u64(container + 8);
  for (uint32_t index = 0; at < size; index++) {
    const uint8_t *entry = container + at;
    damaged.index = index;
    if (size - at < ENTRY) return damaged;
    uint64_t header = u32(entry + 4), payload = u64(entry + 8);
    if (header < ENTRY || header > size - at || payload > size - at - header) return damaged;
    at += header + payload;
    uint32_t kind = u16(entry), arch = today(u32(entry + 0x1C));
    uint64_t flags = u64(entry + 0x28);
    char suffix = flags & FLAG_A ? 'a' : flags & FLAG_F ? 'f' : 0;
    if ((kind != KIND_PTX && kind != KIND_CUBIN) || !(flags & FLAG_64)) continue;
    if (ignore & (kind == KIND_PTX ? SHIM_IGNORE_PTX : SHIM_IGNORE_CUBINS)) continue;
    if (!loads(kind, arch, suffix, device)) continue;
    /* the highest number; there machine code before PTX; there a, f, plain; between equals the first */
    uint64_t rank = (uint64_t)arch << 8 | (kind == KIND_CUBIN) << 4 | (suffix == 'a' ? 3 : suffix == 'f' ? 2 : 1);
    if (rank <= best_rank) continue;
    best_rank = rank;
    best_marked = kind == KIND_PTX || arch == device || entry_marked(entry, device);
    best.outcome = kind == KIND_PTX ? SHIM_PTX : SHIM_CUBIN;
    best.index = index;
    best.arch = arch;
    best.suffix = suffix;
    best.isa = kind == KIND_PTX ? u16(entry + 0x1A) * 100u + u16(entry + 0x18) : 0;
  }
  if (!best_marked) best.outcome = SHIM_UNPROVEN;
  return best;
}

static int is_elf(const uint8_t *image) { return memcmp(image, "\177ELF", 4) == 0; }

size_t shim_image_size(const uint8_t *image) {
  if (u32(image) == SHIM_CONTAINER_MAGIC) return shim_container_size(image);
  if (!is_elf(image)) return *image == '.' || *image == '/' || *image == '\n' ? strlen((const char *)image) : 0;
  uint64_t end = u64(image + 0x28) + (uint64_t)u16(image + 0x3A) * u16(image + 0x3C);
  uint64_t programs = u64(image + 0x20) + (uint64_t)u16(image + 0x36) * u16(image + 0x38);
  if (programs > end) end = programs;
  for (uint16_t number = 0; number < u16(image + 0x3C); number++) {
    const uint8_t *section = image + u64(image + 0x28) + (size_t)number * u16(image + 0x3A);
    uint64_t last = u64(section + 0x18) + u64(section + 0x20);
    if (u32(section + 4) != 8 && last > end) end = last; /* 8 is SHT_NOBITS */
  }
  return end;
}

static struct shim_choice select_cubin(const uint8_t *image, uint32_t device) {
  struct shim_choice choice = {SHIM_NOTHING, 0, 0, 0, 0};
  uint32_t flags = u32(image + 0x30);
  int today_abi = image[8] >= 8, proven = 0, accelerator = today_abi ? flags >> 3 & 1 : flags >> 11 & 1;
  choice.arch = today(today_abi ? flags >> 8 & 255 : flags & 255);
  for (uint16_t number = 0; number < u16(image + 0x3C); number++) {
    const uint8_t *section = image + u64(image + 0x28) + (size_t)number * u16(image + 0x3A);
    if (u32(section + 4) != COMPAT_SECTION) continue;
    const uint8_t *compat = image + u64(section + 0x18);
    size_t size = u64(section + 0x20);
    proven = marked(compat, size, device);
    for (size_t at = 0; at + 4 <= size; at += compat[at] == 4 ? 4u + u16(compat + at + 2) : 4u)
      accelerator |= compat[at + 1] == 0x09 && compat[at + 2] == 1;
  }
  choice.suffix = accelerator ? 'a' : 0;
  if (!loads(KIND_CUBIN, choice.arch, choice.suffix, device)) return choice;
  choice.outcome = choice.arch < device && choice.arch >= 100 && !proven ? SHIM_UNPROVEN : SHIM_CUBIN;
  return choice;
}

static struct shim_choice select_ptx(const char *text, uint32_t device) {
  struct shim_choice choice = {SHIM_NOTHING, 0, 0, 0, 0};
  const char *target = strstr(text, ".target sm_"), *version = strstr(text, ".version ");
  if (!target || !version) return choice;
  char *end;
  choice.arch = today((uint32_t)strtoul(target + 11, &end, 10));
  choice.suffix = *end == 'a' || *end == 'f' ? *end : 0;
  choice.isa = (uint32_t)strtoul(version + 9, &end, 10) * 100u;
  if (*end == '.') choice.isa += (uint32_t)strtoul(end + 1, &end, 10);
  choice.outcome = loads(KIND_PTX, choice.arch, choice.suffix, device) ? SHIM_PTX : SHIM_NOTHING;
  return choice;
}

struct shim_choice shim_select_image(const uint8_t *image, uint32_t device) {
  if (u32(image) == SHIM_CONTAINER_MAGIC) return shim_select(image, shim_container_size(image), device, 0);
  struct shim_choice nothing = {SHIM_DAMAGED, 0, 0, 0, 0};
  if (!shim_image_size(image)) return nothing;
  return is_elf(image) ? select_cubin(image, device) : select_ptx((const char *)image, device);
}
