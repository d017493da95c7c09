/* struct cudaDeviceProp as the public headers of CUDA 11 to 13 lay it out, and the numbers of a DGX Spark.
 *
 * CUDA 13 dropped eight fields (driver_types.h 12.9 against 13.0). The function without `_v2` of CUDA 11 and 12 knows
 * the fields up to reservedSharedMemPerBlock only, and must not write more.
 */
#ifndef SHIM_ORACLE_FAKE_PROPERTIES_H
#define SHIM_ORACLE_FAKE_PROPERTIES_H

#include <stddef.h>
#include <stdint.h>

#if FAKE_MAJOR >= 13
#define UNTIL_12(field)
#else
#define UNTIL_12(field) field;
#endif

struct fake_properties {
  char name[256], uuid[16], luid[8];
  unsigned luidDeviceNodeMask;
  size_t totalGlobalMem, sharedMemPerBlock;
  int regsPerBlock, warpSize;
  size_t memPitch;
  int maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3];
  UNTIL_12(int clockRate)
  size_t totalConstMem;
  int major, minor;
  size_t textureAlignment, texturePitchAlignment;
  UNTIL_12(int deviceOverlap)
  int multiProcessorCount;
  UNTIL_12(int kernelExecTimeoutEnabled)
  int integrated, canMapHostMemory;
  UNTIL_12(int computeMode)
  int maxTexture1D, maxTexture1DMipmap;
  UNTIL_12(int maxTexture1DLinear)
  int textures[37]; /* maxTexture2D to maxSurfaceCubemapLayered */
  size_t surfaceAlignment;
  int concurrentKernels, ECCEnabled, pciBusID, pciDeviceID, pciDomainID, tccDriver, asyncEngineCount;
  int unifiedAddressing;
  UNTIL_12(int memoryClockRate)
  int memoryBusWidth, l2CacheSize, persistingL2CacheMaxSize, maxThreadsPerMultiProcessor;
  int streamPrioritiesSupported, globalL1CacheSupported, localL1CacheSupported;
  size_t sharedMemPerMultiprocessor;
  int regsPerMultiprocessor, managedMemory, isMultiGpuBoard, multiGpuBoardGroupID, hostNativeAtomicSupported;
  UNTIL_12(int singleToDoublePrecisionPerfRatio)
  int pageableMemoryAccess, concurrentManagedAccess, computePreemptionSupported, canUseHostPointerForRegisteredMem;
  int cooperativeLaunch;
  UNTIL_12(int cooperativeMultiDeviceLaunch)
  size_t sharedMemPerBlockOptin;
  int pageableMemoryAccessUsesHostPageTables, directManagedMemAccessFromHost, maxBlocksPerMultiProcessor;
  int accessPolicyMaxWindowSize;
  size_t reservedSharedMemPerBlock;
  int hostRegisterSupported;
  int later[75]; /* fields of CUDA 12 and 13, and their reserve: zero */
};

enum {
  SPARK_PROCESSORS = 48,
  SPARK_SHARED = 48 << 10,
  SPARK_SHARED_OPTIN = 99 << 10,
  SPARK_SHARED_PROCESSOR = 100 << 10,
  SPARK_L2 = 24 << 20,
  SPARK_THREADS = 1536,
};

static inline uint64_t spark_memory(void) { return 119ull << 30; }

static inline void fill_properties(struct fake_properties *p, unsigned sm) {
  static const char name[] = "Fake GB10 (test oracle)";
  __builtin_memset(p, 0, sizeof *p);
  __builtin_memcpy(p->name, name, sizeof name);
  p->totalGlobalMem = spark_memory();
  p->sharedMemPerBlock = SPARK_SHARED;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->memPitch = 0x7fffffff;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->totalConstMem = 65536;
  p->major = (int)(sm / 10);
  p->minor = (int)(sm % 10);
  p->textureAlignment = p->surfaceAlignment = 512;
  p->texturePitchAlignment = 32;
  p->multiProcessorCount = SPARK_PROCESSORS;
  p->integrated = p->canMapHostMemory = p->concurrentKernels = p->unifiedAddressing = p->managedMemory = 1;
  p->asyncEngineCount = 4;
  p->memoryBusWidth = 256;
  p->l2CacheSize = SPARK_L2;
  p->maxThreadsPerMultiProcessor = SPARK_THREADS;
  p->streamPrioritiesSupported = p->globalL1CacheSupported = p->localL1CacheSupported = 1;
  p->sharedMemPerMultiprocessor = SPARK_SHARED_PROCESSOR;
  p->pageableMemoryAccess = p->concurrentManagedAccess = p->cooperativeLaunch = p->hostRegisterSupported = 1;
  p->sharedMemPerBlockOptin = SPARK_SHARED_OPTIN;
  p->maxBlocksPerMultiProcessor = 24;
  p->reservedSharedMemPerBlock = 1024;
}

/* cudaDevAttr... and CU_DEVICE_ATTRIBUTE_... share their numbers. Attributes that are not listed are 0. */
static inline int spark_attribute(int number, unsigned sm) {
  switch (number) {
    case 1: case 2: case 3: return 1024;
    case 4: return 64;
    case 5: return 0x7fffffff;
    case 6: case 7: return 65535;
    case 8: return SPARK_SHARED;
    case 9: case 12: case 82: return 65536;
    case 10: return 32;
    case 13: return 2418000;
    case 14: case 30: return 512;
    case 16: return SPARK_PROCESSORS;
    case 37: return 256;
    case 38: return SPARK_L2;
    case 39: return SPARK_THREADS;
    case 40: return 4;
    case 75: return (int)(sm / 10);
    case 76: return (int)(sm % 10);
    case 81: return SPARK_SHARED_PROCESSOR;
    case 97: return SPARK_SHARED_OPTIN;
    case 106: return 24;
    case 111: return 1024;
    case 18: case 19: case 31: case 41: case 78: case 79: case 80: case 83: case 88: case 89: case 95: case 99:
    case 115: case 120: return 1;
    default: return 0;
  }
}

#endif
