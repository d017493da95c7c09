/* Loads a library and calls functions of it: `runner LIBRARY [NAME[:ARGUMENT,...]]...`
 *
 * An argument is a whole number, or `p` for the address of a megabyte of zeros of its own. It is C, so that it runs
 * under qemu-user too. Prints `NAME VALUE` for each call; exit 2 when the library does not load, 3 when a name is
 * missing.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 12 };
typedef int (*function)(long, long, long, long, long, long, long, long, long, long, long, long);

int main(int count, char **words) {
  void *library = count > 1 ? dlopen(words[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 2;
  for (int number = 2; number < count; number++) {
    long values[MOST] = {0};
    char *at = strchr(words[number], ':');
    if (at) *at++ = 0;
    for (int index = 0; at && *at && index < MOST; index++) {
      char *next = strchr(at, ',');
      if (next) *next++ = 0;
      values[index] = *at == 'p' ? (long)calloc(1, 1 << 20) : strtol(at, NULL, 0);
      at = next;
    }
    void *found = dlsym(library, words[number]);
    if (!found) return fprintf(stderr, "%s\n", dlerror()), 3;
    function call;
    memcpy(&call, &found, sizeof call);
    long *v = values;
    int value = call(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11]);
    printf("%s %d\n", words[number], value);
    fflush(stdout);
  }
  return 0;
}
