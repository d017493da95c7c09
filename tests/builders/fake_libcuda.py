"""A libcuda.so.1 that stands in for a driver: one device of 12.1; modules load, fail, hang or crash by their text."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int current = 0;
static void tell(const char* text) {
  FILE* file = fopen(getenv("FAKE_LIBCUDA_LOG"), "a");
  if (file) { fprintf(file, "%s\n", text); fclose(file); }
}
int cuInit(unsigned flags) { return getenv("FAKE_LIBCUDA_NO_DEVICE") ? 100 : 0; }
int cuDriverGetVersion(int* v) { *v = 13000; return 0; }
int cuDeviceGet(int* d, int n) { *d = n; return n == 0 ? 0 : 101; }
int cuDeviceGetName(char* name, int size, int d) { snprintf(name, size, "Fake GB10"); return 0; }
int cuDeviceGetAttribute(int* v, int a, int d) { *v = a == 75 ? 12 : a == 76 ? 1 : 0; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int d) { *c = &current; return 0; }
int cuCtxSetCurrent(void* c) { current = c == &current; return 0; }
int cuGetErrorString(int code, const char** text) {
  *text = code == 100 ? "no CUDA-capable device is detected" : code == 101 ? "invalid device ordinal"
        : code == 222 ? "the provided PTX was compiled with an unsupported toolchain" : "other";
  return 0;
}
int cuModuleLoadData(void** module, const void* image) {
  const unsigned char* bytes = image;
  if (!current) return 201;
  if (bytes[0] == 0x50 && bytes[1] == 0xed) { tell("container"); *module = &current; return 0; }
  if (strstr(image, "hang")) sleep(600);
  if (strstr(image, "crash")) abort();
  if (strstr(image, "newer")) return 222;
  tell("text");
  *module = &current;
  return 0;
}
int cuModuleUnload(void* module) { return module == &current ? 0 : 1; }
"""


def build(folder: Path) -> Path:
    """Compile it; returns the folder for LD_LIBRARY_PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "fake.c"
    source.write_text(SOURCE)
    command = ["cc", "-shared", "-fPIC", "-w", "-o", str(folder / "libcuda.so.1"), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return folder
