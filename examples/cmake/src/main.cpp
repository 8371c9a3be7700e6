#include "area.h"
#include <cstdlib>
#include <iostream>

int main(int argc, char **argv) {
  std::cout << area_of_square(argc > 1 ? std::atoi(argv[1]) : 1) << "\n";
  return 0;
}
