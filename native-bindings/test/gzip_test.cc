// Runs the tests of the gzip core, or `measure FILE`.

#include <cstdio>
#include <cstring>

#include "gzip_fixture.h"

int main(int count, char** arguments) {
  using namespace ocimount::test;
  if (count == 3 && strcmp(arguments[1], "measure") == 0) return Measure(arguments[2]);
  const struct {
    const char* name;
    void (*run)();
  } kTests[] = {
      {"checksums", TestChecksums}, {"windows", TestWindows}, {"index", TestIndex}, {"fill", TestFill}, {"damage", TestDamage}};
  for (const auto& test : kTests) {
    test.run();
    std::printf("ok %s\n", test.name);
    // A test that is stopped has told how far it came.
    std::fflush(stdout);
  }
  return 0;
}
