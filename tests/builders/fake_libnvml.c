/* An NVML that answers what FAKE_NVML says: "ok", an nvmlReturn_t for nvmlInit_v2, "hang", "partial". For tests of detection. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned long long total, free, used; } memory_t;
static const char *mode(void) { const char *m = getenv("FAKE_NVML"); return m ? m : "ok"; }
static unsigned count(void) { const char *n = getenv("FAKE_NVML_COUNT"); return n ? (unsigned)atoi(n) : 1; }
static int partial(void) { return !strcmp(mode(), "partial"); }

int nvmlInit_v2(void) {
  if (!strcmp(mode(), "hang")) for (;;) pause();
  return strcmp(mode(), "ok") && !partial() ? atoi(mode()) : 0;
}
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { snprintf(out, size, "580.95.05"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { *out = 13000; return 0; }
int nvmlDeviceGetCount_v2(unsigned *out) { *out = count(); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **out) { *out = (void *)(size_t)(i + 1); return i < count() ? 0 : 2; }
int nvmlDeviceGetName(void *d, char *out, unsigned size) { snprintf(out, size, (size_t)d == 1 ? "NVIDIA GB10" : "NVIDIA RTX 5090"); return 0; }
int nvmlDeviceGetUUID(void *d, char *out, unsigned size) {
  const unsigned b = 0x10 + (unsigned)(size_t)d - 1;
  snprintf(out, size, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b);
  return 0;
}
int nvmlDeviceGetCudaComputeCapability(void *d, int *major, int *minor) {
  if (partial()) return 3;
  *major = 12; *minor = (size_t)d == 1; return 0;
}
int nvmlDeviceGetMemoryInfo(void *d, memory_t *out) {
  if ((size_t)d == 1) return 3; /* GB10 */
  out->total = 32ULL << 30; out->free = out->used = 0; return 0;
}
int nvmlDeviceGetMigMode(void *d, unsigned *now, unsigned *later) {
  (void)d;
  const char *mig = getenv("FAKE_NVML_MIG");
  if (!mig) return 3;
  *now = *later = (unsigned)atoi(mig); return 0;
}
const char *nvmlErrorString(int code) {
  switch (code) {
    case 3: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
  }
}
