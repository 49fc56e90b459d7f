#include "sim/verbs/line_chart.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace squall::sim {

namespace {

constexpr double width = 720;
constexpr double height = 420;
constexpr double left = 64;
constexpr double right = 620; // names of lines stand beyond
constexpr double top = 40;
constexpr double bottom = 364;
// Told apart by most eyes, and dark enough on white.
constexpr std::array<const char*, 6> colors{"#c0392b", "#1f6fb4", "#2e8b57", "#8e44ad", "#b9770e", "#444444"};

std::string escape(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else
      out += c;
  }
  return out;
}

std::string number(double v) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", v);
  return text.data();
}

std::string tick(double v) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", v);
  return text.data();
}

std::string label(double x, double y, const std::string& anchor, const std::string& text,
                  const std::string& more = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\"" + more + ">" +
         escape(text) + "</text>\n";
}

std::string rule(double x1, double y1, double x2, double y2, const std::string& color) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) +
         "\" stroke=\"" + color + "\"/>\n";
}

/// A point of the i-th line: circle, square, triangle, diamond, cross.
std::string mark(std::size_t i, double x, double y, const std::string& color) {
  const auto p = [&](double dx, double dy) { return number(x + dx) + " " + number(y + dy); };
  constexpr double r = 4;
  std::string path;
  switch (i % 5) {
    case 0:
      return "<circle cx=\"" + number(x) + "\" cy=\"" + number(y) + "\" r=\"4\" fill=\"" + color + "\"/>\n";
    case 1:
      path = "M" + p(-r, -r) + "L" + p(r, -r) + "L" + p(r, r) + "L" + p(-r, r) + "Z";
      break;
    case 2:
      path = "M" + p(0, -r - 1) + "L" + p(r + 1, r) + "L" + p(-r - 1, r) + "Z";
      break;
    case 3:
      path = "M" + p(0, -r - 1) + "L" + p(r + 1, 0) + "L" + p(0, r + 1) + "L" + p(-r - 1, 0) + "Z";
      break;
    default:
      return "<path d=\"M" + p(-r, -r) + "L" + p(r, r) + "M" + p(-r, r) + "L" + p(r, -r) + "\" stroke=\"" + color +
             "\" stroke-width=\"2\"/>\n";
  }
  return "<path d=\"" + path + "\" fill=\"" + color + "\"/>\n";
}

struct frame {
  double x_low;
  double x_high;
  double y_low; ///< powers of ten, as exponents
  double y_high;

  [[nodiscard]] double x(double v) const { return left + (v - x_low) / (x_high - x_low) * (right - left); }
  [[nodiscard]] double y(double v) const {
    return bottom - (std::log10(v) - y_low) / (y_high - y_low) * (bottom - top);
  }
};

frame frame_of(const line_chart& chart) {
  double low = 1;
  double high = 1;
  bool first = true;
  for (const line_chart::line& s : chart.series)
    for (const double v : s.y)
      if (v > 0) {
        low = first ? v : std::min(low, v);
        high = first ? v : std::max(high, v);
        first = false;
      }
  const double floor = std::floor(std::log10(low));
  return {chart.x.front(), chart.x.back(), floor, std::max(floor + 1, std::ceil(std::log10(high)))};
}

std::string draw_axes(const line_chart& chart, const frame& f) {
  std::string out;
  for (double e = f.y_low; e <= f.y_high; ++e) {
    const double y = f.y(std::pow(10, e));
    out += rule(left, y, right, y, "#dddddd") + label(left - 8, y + 4, "end", tick(std::pow(10, e)));
  }
  for (const double x : chart.x)
    out += rule(f.x(x), bottom, f.x(x), bottom + 4, "#444444") + label(f.x(x), bottom + 18, "middle", tick(x));
  out += rule(left, bottom, right, bottom, "#444444") + rule(left, top, left, bottom, "#444444");
  out += label((left + right) / 2, bottom + 40, "middle", chart.x_axis);
  out += label(left, top - 18, "start", chart.title, " font-weight=\"bold\"");
  out += label(16, (top + bottom) / 2, "middle", chart.y_axis,
               " transform=\"rotate(-90 16 " + number((top + bottom) / 2) + ")\"");
  return out;
}

/// Where the names of lines stand: at their last points, pushed apart where they would overlap.
std::vector<double> name_places(const line_chart& chart, const frame& f) {
  std::vector<std::pair<double, std::size_t>> wanted;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const double last = chart.series[i].y.back();
    wanted.emplace_back(last > 0 ? f.y(last) : bottom, i);
  }
  std::sort(wanted.begin(), wanted.end());
  constexpr double apart = 15;
  for (std::size_t i = 1; i < wanted.size(); ++i)
    wanted[i].first = std::max(wanted[i].first, wanted[i - 1].first + apart);
  double limit = bottom;
  for (std::size_t i = wanted.size(); i-- > 0; limit -= apart)
    wanted[i].first = std::min(wanted[i].first, limit);
  std::vector<double> out(wanted.size());
  for (const auto& [y, i] : wanted)
    out[i] = y;
  return out;
}

} // namespace

std::string to_svg(const line_chart& chart) {
  SQUALL_CHECK(chart.x.size() >= 2, chart.x.size());
  const frame f = frame_of(chart);
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) + "\" height=\"" +
                    number(height) + "\" font-family=\"sans-serif\" font-size=\"12\">\n" +
                    "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" + draw_axes(chart, f);
  const std::vector<double> places = name_places(chart, f);
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const line_chart::line& s = chart.series[i];
    SQUALL_CHECK(s.y.size() == chart.x.size(), s.name);
    const std::string color = colors[i % colors.size()];
    std::string points;
    std::string marks;
    for (std::size_t k = 0; k < s.y.size(); ++k) {
      if (s.y[k] <= 0)
        continue;
      points += (points.empty() ? "" : " ") + number(f.x(chart.x[k])) + "," + number(f.y(s.y[k]));
      marks += mark(i, f.x(chart.x[k]), f.y(s.y[k]), color);
    }
    out += "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"" + color + "\" points=\"" + points + "\"/>\n" + marks;
    out += label(right + 10, places[i] + 4, "start", s.name, " fill=\"" + color + "\"");
  }
  return out + "</svg>\n";
}

} // namespace squall::sim
