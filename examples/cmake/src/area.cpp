#include "area.h"

int area_of_square(int side) { return side * side; }
