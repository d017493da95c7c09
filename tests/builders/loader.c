// Loads a library of tests/builders/elf.py as a process does and writes the containers its wrappers lead to.
#include <dlfcn.h>
#include <stdio.h>

typedef int (*check)(void);
typedef const unsigned char* (*container)(int);

int main(int argc, char** argv) {
  void* library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
  if (library == NULL) {
    fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: loader LIBRARY");
    return 1;
  }
  if (!((check)dlsym(library, "shim_constructor_ran"))()) return 2;
  if (!((check)dlsym(library, "shim_thread_local"))()) return 3;
  if (!((check)dlsym(library, "shim_ifunc"))()) return 5;
  check exception = (check)dlsym(library, "shim_exception");  // not in libraries made without a C++ runtime
  if (exception != NULL && !exception()) return 6;
  container at = (container)dlsym(library, "shim_container");
  for (int i = 0; at(i) != NULL; ++i) {
    unsigned long long size = 0;
    for (int b = 0; b < 8; ++b) size |= (unsigned long long)at(i)[8 + b] << (8 * b);
    if (fwrite(at(i), 1, 16 + size, stdout) != 16 + size) return 4;
  }
  return 0;
}
