// Runs the tests of the gzip core, or `measure FILE`.

#include <cstring>

#include "gzip_fixture.h"

int main(int count, char** arguments) {
  using namespace ocimount::test;
  if (count == 3 && strcmp(arguments[1], "measure") == 0) return Measure(arguments[2]);
  TestWindows();
  TestIndex();
  TestFill();
  TestDamage();
  puts("gzip: all right");
  return 0;
}
