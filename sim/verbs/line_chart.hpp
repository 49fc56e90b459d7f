#pragma once

#include <string>
#include <vector>

namespace squall::sim {

/// Lines over common points. The y axis is logarithmic; values of 0 or less are left out.
struct line_chart {
  struct line {
    std::string name;
    std::vector<double> y; ///< one a point
  };
  std::string title;
  std::string x_axis;
  std::string y_axis;
  std::vector<double> x; ///< rising, two or more
  std::vector<line> series;
};

/// The chart as an SVG document of its own. Lines differ by colour and by the form of their points, and each is named
/// where it ends.
[[nodiscard]] std::string to_svg(const line_chart& chart);

} // namespace squall::sim
