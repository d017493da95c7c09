/* The host half of a CUDA library, written by hand: what nvcc emits, against the public names of the runtime.
 *
 * CONTAINER and, for the result of a device link, PRELINKED name files of the same folder. One kernel, one variable.
 */
#include <stddef.h>
#include <stdint.h>

#define TEXT_(word) #word
#define TEXT(word) TEXT_(word)
#define EMBED(label, section, file)                                                                \
  __asm__(".section " section ",\"a\"\n.balign 8\n" #label ": .incbin " TEXT(file) "\n.previous"); \
  extern const unsigned char label[] __attribute__((visibility("hidden")))

typedef struct { unsigned x, y, z; } dim3;
struct wrapper { unsigned magic, version; const void *data; const void *const *prelinked; };

extern void **__cudaRegisterFatBinary(void *);
extern void __cudaRegisterFatBinaryEnd(void **);
extern void __cudaRegisterFunction(void **, const char *, char *, const char *, int, void *, void *, void *, void *,
                                   int *);
extern void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int);
extern unsigned __cudaPushCallConfiguration(dim3, dim3, size_t, void *);
extern int __cudaPopCallConfiguration(dim3 *, dim3 *, size_t *, void *);
extern int cudaLaunchKernel(const void *, dim3, dim3, void **, size_t, void *);
extern int cudaGetDeviceCount(int *);
extern int cudaDeviceGetAttribute(int *, int, int);
extern int cudaGetLastError(void);
extern int cudaGetSymbolAddress(void **, const void *);
extern int cudaDeviceSynchronize(void);

EMBED(container, ".nv_fatbin", CONTAINER);
#ifdef PRELINKED
EMBED(part, "__nv_relfatbin", PRELINKED);
static const void *parts[2];
static struct wrapper wrapper __attribute__((section(".nvFatBinSegment"))) = {0x466243B1, 2, container, parts};
#else
static struct wrapper wrapper __attribute__((section(".nvFatBinSegment"))) = {0x466243B1, 1, container, NULL};
#endif
static char variable;
static void kernel(void) {}

__attribute__((constructor)) static void start(void) {
#ifdef PRELINKED
  parts[0] = part;
#endif
  void **handle = __cudaRegisterFatBinary(&wrapper);
  __cudaRegisterFunction(handle, (const char *)kernel, NULL, "kernel", -1, NULL, NULL, NULL, NULL, NULL);
  __cudaRegisterVar(handle, &variable, NULL, "variable", 0, 12, 1, 0);
  __cudaRegisterFatBinaryEnd(handle);
}

int launch(void) {
  dim3 grid = {1, 2, 3}, block = {4, 5, 6};
  size_t shared;
  void *stream;
  if (__cudaPushCallConfiguration(grid, block, 7, NULL)) return -1;
  if (__cudaPopCallConfiguration(&grid, &block, &shared, &stream) || grid.z != 3 || block.y != 5 || shared != 7)
    return -2;
  return cudaLaunchKernel((const void *)kernel, grid, block, NULL, shared, stream);
}

int launch_unknown(void) {
  dim3 one = {1, 1, 1};
  return cudaLaunchKernel(&variable, one, one, NULL, 0, NULL);
}

int last_error(void) { return cudaGetLastError(); }

int capability(void) {
  int count = 0, major = 0, minor = 0;
  cudaGetDeviceCount(&count);
  cudaDeviceGetAttribute(&major, 75, 0);
  cudaDeviceGetAttribute(&minor, 76, 0);
  return count * 1000 + major * 10 + minor;
}

int symbol(void) {
  void *address = NULL;
  int code = cudaGetSymbolAddress(&address, &variable);
  return code ? code : address == NULL;
}

int generated(void) { return cudaDeviceSynchronize(); }
