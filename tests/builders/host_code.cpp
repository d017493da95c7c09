// Host code for the files of tests/builders/elf.py: each function answers 1 when what it uses works.
#ifndef SHIM_FREESTANDING
#include <cstdio>
#include <stdexcept>
#include <string>
#endif

extern "C" {

struct Wrapper {
  unsigned magic, version;
  const unsigned char* data;
  void* prelinked;
};
extern __attribute__((visibility("hidden"))) const volatile Wrapper shim_wrappers[];
extern __attribute__((visibility("hidden"))) const volatile int shim_wrapper_count;

#ifdef SHIM_BSS
char shim_zeros[SHIM_BSS];
#endif

static int constructed = 0;
__attribute__((constructor)) static void construct() { constructed = 1; }
int shim_constructor_ran() { return constructed; }

static thread_local int counter = 41;
int shim_thread_local() { return ++counter == 42 ? 1 : (counter = 41, 1); }

// The container of a wrapper, or null beyond the last one.
const unsigned char* shim_container(int index) {
  return index < shim_wrapper_count ? shim_wrappers[index].data : nullptr;
}

// Through the pointers as the loader left them: do all wrappers lead to a container?
int shim_wrappers_lead_to_containers() {
  for (int i = 0; i < shim_wrapper_count; ++i) {
    const unsigned char* p = shim_wrappers[i].data;
    if (!(p[0] == 0x50 && p[1] == 0xED && p[2] == 0x55 && p[3] == 0xBA)) return 0;
  }
  return 1;
}

static int chosen() { return 1; }
typedef int (*choice)();
choice shim_choose() { return chosen; }
int shim_ifunc() __attribute__((ifunc("shim_choose")));

#ifndef SHIM_FREESTANDING
int shim_exception() {
  try {
    throw std::runtime_error(std::string("thrown through ") + "unwind tables");
  } catch (const std::exception& e) {
    return e.what()[0] == 't';
  }
}
#endif
}

#ifdef SHIM_MAIN
// Writes the containers the wrappers lead to, one after the other.
int main() {
  if (!shim_constructor_ran() || !shim_thread_local() || !shim_ifunc() || !shim_exception()) return 2;
  for (int i = 0; i < shim_wrapper_count; ++i) {
    const unsigned char* p = shim_wrappers[i].data;
    unsigned long long size = 0;
    for (int b = 0; b < 8; ++b) size |= static_cast<unsigned long long>(p[8 + b]) << (8 * b);
    if (std::fwrite(p, 1, 16 + size, stdout) != 16 + size) return 3;
  }
  return 0;
}
#endif
