/* A CUDA driver that answers what FAKE_CUDA says: "ok", a CUresult for cuInit, "hang", "crash". For tests of detection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *mode(void) { const char *m = getenv("FAKE_CUDA"); return m ? m : "ok"; }
static int count(void) { const char *n = getenv("FAKE_CUDA_COUNT"); return n ? atoi(n) : 1; }
static int inited;

int cuDriverGetVersion(int *v) { *v = 13000; return 0; }
int cuInit(unsigned flags) {
  (void)flags;
  if (!strcmp(mode(), "hang")) for (;;) pause();
  if (!strcmp(mode(), "crash")) abort();
  if (strcmp(mode(), "ok")) return atoi(mode());
  inited = 1;
  const char *note = getenv("FAKE_CUDA_NOTE");
  if (note) { FILE *f = fopen(note, "a"); if (f) { fprintf(f, "%d\n", (int)getpid()); fclose(f); } }
  return 0;
}
int cuDeviceGetCount(int *n) { if (!inited) return 3; *n = count(); return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return i < count() ? 0 : 101; }
int cuDeviceGetName(char *out, int size, int d) { snprintf(out, (size_t)size, d ? "NVIDIA RTX 5090" : "NVIDIA GB10"); return 0; }
int cuDeviceGetPCIBusId(char *out, int size, int d) { snprintf(out, (size_t)size, "000F:%02x:00.0", d + 1); return 0; }
int cuDeviceGetUuid_v2(unsigned char *out, int d) { memset(out, 0x10 + d, 16); return 0; }
int cuDeviceTotalMem_v2(size_t *out, int d) { (void)d; *out = (size_t)119 << 30; return 0; }
int cuDeviceGetAttribute(int *out, int a, int d) {
  switch (a) {
    case 75: *out = 12; return 0;
    case 76: *out = d ? 0 : 1; return 0;
    case 16: *out = d ? 170 : 48; return 0;
    case 18: *out = !d; return 0;
    case 88: case 89: *out = 1; return 0;
    case 100: *out = !d; return 0;
    case 38: *out = 24 << 20; return 0;
    case 81: *out = 100 << 10; return 0;
    case 97: *out = 99 << 10; return 0;
    case 120: *out = 1; return 0;
    default: return 1; /* CUDA_ERROR_INVALID_VALUE: an older driver */
  }
}
int cuGetErrorName(int code, const char **out) {
  switch (code) {
    case 3: *out = "CUDA_ERROR_NOT_INITIALIZED"; return 0;
    case 34: *out = "CUDA_ERROR_STUB_LIBRARY"; return 0;
    case 35: *out = "CUDA_ERROR_INSUFFICIENT_DRIVER"; return 0;
    case 100: *out = "CUDA_ERROR_NO_DEVICE"; return 0;
    case 803: *out = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"; return 0;
    default: return 1;
  }
}
