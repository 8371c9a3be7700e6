#pragma once
int area_of_square(int side);
