#include "sim/verbs/run_plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace squall::sim {

namespace {

constexpr double left_px = 90;
constexpr double width_px = 1400;
constexpr double load_px = 5; ///< a row of loads
constexpr double gap_px = 6;  ///< between nodes
constexpr double top_px = 64;
constexpr double strip_px = 14; ///< of missed deadlines
constexpr double chart_px = 160;
constexpr int bins = 100;

std::string num(double n) {
  std::array<char, 32> text;
  const int size = std::snprintf(text.data(), text.size(), "%.2f", n);
  return {text.data(), static_cast<std::size_t>(size)};
}

std::string escaped(std::string_view s) {
  std::string out;
  for (const char c : s) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

/// Hues far apart for neighbours; lightness tells apart those that come round again.
std::string colour(std::size_t function) {
  const double hue = static_cast<double>(function * 137 % 360) / 60;
  const double light = 0.52 + 0.09 * static_cast<double>(function % 3);
  const double chroma = 0.55 * (1 - std::abs(2 * light - 1));
  const double second = chroma * (1 - std::abs(std::fmod(hue, 2) - 1));
  const std::array<std::array<double, 3>, 6> sectors{{{chroma, second, 0},
                                                      {second, chroma, 0},
                                                      {0, chroma, second},
                                                      {0, second, chroma},
                                                      {second, 0, chroma},
                                                      {chroma, 0, second}}};
  std::array<int, 3> rgb{};
  for (std::size_t i = 0; i < 3; ++i)
    rgb[i] = static_cast<int>(std::lround(255 * (sectors[static_cast<std::size_t>(hue) % 6][i] + light - chroma / 2)));
  std::array<char, 8> text;
  std::snprintf(text.data(), text.size(), "#%02x%02x%02x", rgb[0] & 255, rgb[1] & 255, rgb[2] & 255);
  return text.data();
}

std::string rect(double x, double y, double w, double h, const std::string& attributes, const std::string& tip) {
  return "<rect x=\"" + num(x) + "\" y=\"" + num(y) + "\" width=\"" + num(std::max(w, 0.4)) + "\" height=\"" + num(h) +
         "\" " + attributes + (tip.empty() ? "/>\n" : "><title>" + escaped(tip) + "</title></rect>\n");
}

std::string text(double x, double y, const std::string& attributes, std::string_view s) {
  return "<text x=\"" + num(x) + "\" y=\"" + num(y) + "\" " + attributes + ">" + escaped(s) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const std::string& stroke) {
  return "<line x1=\"" + num(x1) + "\" y1=\"" + num(y1) + "\" x2=\"" + num(x2) + "\" y2=\"" + num(y2) + "\" stroke=\"" +
         stroke + "\"/>\n";
}

/// 1, 2 or 5 times a power of ten, so that about ten steps make the span.
std::int64_t step_of(double span) {
  std::int64_t step = 1;
  for (int i = 0; static_cast<double>(step) * 10 < span; ++i)
    step = i % 3 == 1 ? step / 2 * 5 : step * 2;
  return step;
}

} // namespace

run_plot::run_plot(const workload& input, std::int64_t from, std::int64_t to)
    : input_(input),
      from_(from),
      to_(std::max(to, from + 1)),
      lanes_busy_(input.nodes.size()),
      loads_busy_(input.nodes.size()) {
  for (const workload_request& r : input.requests)
    deadlines_.push_back(r.arrival + r.latency_slo);
}

// -- what happens
// ---------------------------------------------------------------------------------------------------------------

std::size_t run_plot::row_of(std::vector<std::int64_t>& busy_until, std::int64_t begin, std::int64_t end) {
  auto row = std::find_if(busy_until.begin(), busy_until.end(), [&](std::int64_t t) { return t <= begin; });
  if (row == busy_until.end())
    row = busy_until.insert(row, 0);
  *row = end;
  return static_cast<std::size_t>(row - busy_until.begin());
}

void run_plot::redeemed(std::int64_t, std::size_t request, const offered& offer) { deadlines_[request] = offer.finish; }

void run_plot::loading(std::int64_t t, replica_id replica, node_id node, variant_id variant) {
  const std::size_t n = index_of(node);
  replicas_[replica] = {n, function_of(variant)};
  const std::int64_t end = t + variant_of(input_, variant).load;
  if (t < to_ && end > from_)
    loads_.push_back({t, end, n, row_of(loads_busy_[n], t, end), function_of(variant), 0, false});
}

void run_plot::running(std::int64_t t, replica_id replica, std::span<const calls::placing::task> tasks,
                       std::int64_t until) {
  const auto [n, function] = replicas_.at(replica);
  const std::size_t row = row_of(lanes_busy_[n], t, until);
  if (t >= to_ || until <= from_)
    return;
  const bool late = std::any_of(tasks.begin(), tasks.end(), [&](const calls::placing::task& task) {
    return until > deadlines_[index_of(task.call)];
  });
  runs_.push_back({t, until, n, row, function, tasks.size(), late});
}

void run_plot::dropped(std::int64_t, std::size_t request, const std::string&) {
  missed_.push_back(deadlines_[request]);
}
void run_plot::finished(std::int64_t t, std::size_t request, calls::placing::micro_cost, bool kept) {
  if (kept)
    kept_.push_back(t);
  else if (t > deadlines_[request])
    missed_.push_back(deadlines_[request]);
}
void run_plot::lost(std::int64_t t, node_id node) {
  const std::size_t n = index_of(node);
  losses_.emplace_back(t, n);
  lanes_busy_[n].assign(lanes_busy_[n].size(), t);
  loads_busy_[n].assign(loads_busy_[n].size(), t);
  for (std::vector<bar>* bars : {&runs_, &loads_})
    for (bar& b : *bars)
      if (b.node == n && b.end > t)
        b.end = t;
}

// -- drawing
// --------------------------------------------------------------------------------------------------------------------

double run_plot::x_of(std::int64_t t) const {
  return left_px + width_px * static_cast<double>(std::clamp(t, from_, to_) - from_) / static_cast<double>(to_ - from_);
}

void run_plot::draw_bars(std::string& out, const std::vector<double>& top, double lane_px) const {
  for (const bar& b : runs_) {
    const std::string& name = input_.functions[b.function].name;
    const std::string tip = name + ", batch of " + std::to_string(b.tasks) + ", " + std::to_string(b.begin) + " to " +
                            std::to_string(b.end) + " ms" + (b.late ? ", late" : "");
    const std::string look =
        "fill=\"" + colour(b.function) + "\"" + (b.late ? " stroke=\"#d00000\" stroke-width=\"1.2\"" : "");
    out += rect(x_of(b.begin), top[b.node] + static_cast<double>(b.row) * lane_px, x_of(b.end) - x_of(b.begin),
                lane_px - 1, look, tip);
  }
  for (const bar& b : loads_) {
    const double y = top[b.node] + input_.nodes[b.node].lanes * lane_px + 1 + static_cast<double>(b.row % 4) * load_px;
    out += rect(x_of(b.begin), y, x_of(b.end) - x_of(b.begin), load_px - 0.5, "fill=\"url(#load)\"",
                "load of " + input_.functions[b.function].name + ", " + std::to_string(b.begin) + " to " +
                    std::to_string(b.end) + " ms");
  }
}

void run_plot::draw_axis(std::string& out, double top, double bottom) const {
  const std::int64_t step = step_of(static_cast<double>(to_ - from_));
  for (std::int64_t t = (from_ + step - 1) / step * step; t <= to_; t += step) {
    out += line(x_of(t), top, x_of(t), bottom, "#e4e4e4");
    out += text(x_of(t), bottom + 14, "text-anchor=\"middle\" fill=\"#555\"", std::to_string(t));
  }
  out += text(left_px + width_px, bottom + 28, "text-anchor=\"end\" fill=\"#555\"", "ms");
}

void run_plot::draw_goodput(std::string& out, double top, double height) const {
  std::vector<double> offered(bins, 0);
  std::vector<double> kept(bins, 0);
  const double bin_ms = static_cast<double>(to_ - from_) / bins;
  const auto count = [&](std::vector<double>& into, std::int64_t t) {
    if (t >= from_ && t < to_)
      into[std::min<std::size_t>(bins - 1, static_cast<std::size_t>(static_cast<double>(t - from_) / bin_ms))] +=
          1000 / bin_ms;
  };
  for (const workload_request& r : input_.requests)
    count(offered, r.arrival);
  for (const std::int64_t t : kept_)
    count(kept, t);
  double most = 1;
  for (const double v : offered)
    most = std::max(most, v);
  for (const double v : kept)
    most = std::max(most, v);
  const std::int64_t step = step_of(most * 2);
  for (std::int64_t v = 0; static_cast<double>(v) <= most; v += step) {
    const double y = top + height * (1 - static_cast<double>(v) / most);
    out += line(left_px, y, left_px + width_px, y, "#eeeeee");
    out += text(left_px - 6, y + 4, "text-anchor=\"end\" fill=\"#555\"", std::to_string(v));
  }
  const auto curve = [&](const std::vector<double>& values, const char* stroke) {
    out += std::string{"<polyline fill=\"none\" stroke-width=\"1.6\" stroke=\""} + stroke + "\" points=\"";
    for (int i = 0; i < bins; ++i)
      out += num(left_px + width_px * (i + 0.5) / bins) + "," +
             num(top + height * (1 - values[static_cast<std::size_t>(i)] / most)) + " ";
    out += "\"/>\n";
  };
  curve(offered, "#9a9a9a");
  curve(kept, "#1b7f3b");
  out += text(left_px, top - 8, "fill=\"#555\"", "calls per second:");
  out += text(left_px + 105, top - 8, "fill=\"#777\"", "offered");
  out += text(left_px + 155, top - 8, "fill=\"#1b7f3b\"", "kept (both SLOs met)");
}

/// Names of functions beside their colours, in columns; gives where it ends.
double run_plot::draw_legend(std::string& out, double top) const {
  constexpr std::size_t columns = 10;
  constexpr double row_px = 16;
  const double column_px = width_px / static_cast<double>(columns);
  const std::size_t shown = std::min<std::size_t>(input_.functions.size(), 8 * columns);
  for (std::size_t f = 0; f < shown; ++f) {
    const std::size_t row = f / columns;
    const double x = left_px + column_px * static_cast<double>(f % columns);
    const double y = top + row_px * static_cast<double>(row);
    out += rect(x, y, 10, 10, "fill=\"" + colour(f) + "\"", "");
    out += text(x + 15, y + 9, "fill=\"#333\"", std::string_view{input_.functions[f].name}.substr(0, 18));
  }
  const std::size_t rows = (shown + columns - 1) / columns;
  return top + row_px * static_cast<double>(rows);
}

std::string run_plot::svg(const std::string& title) const {
  const std::size_t lanes = [&] {
    std::size_t n = 0;
    for (const workload_node& node : input_.nodes)
      n += node.lanes;
    return n;
  }();
  const double lane_px = std::clamp(700.0 / static_cast<double>(lanes), 2.0, 22.0);
  std::vector<double> top;
  double y = top_px + strip_px + gap_px;
  for (const workload_node& n : input_.nodes) {
    top.push_back(y);
    y += n.lanes * lane_px + 4 * load_px + 2 + gap_px;
  }
  std::string body;
  const double chart_top = draw_legend(body, y + 36) + 40;
  const double height = chart_top + chart_px + 50;
  draw_axis(body, top_px, y);
  body += text(left_px - 6, top_px + strip_px - 3, "text-anchor=\"end\" fill=\"#d00000\"", "missed");
  for (const std::int64_t t : missed_)
    if (t >= from_ && t < to_)
      body += line(x_of(t), top_px + 2, x_of(t), top_px + strip_px, "#d00000");
  for (std::size_t n = 0; n < top.size(); ++n) {
    const double node_px = input_.nodes[n].lanes * lane_px;
    body += rect(left_px, top[n], width_px, node_px, "fill=\"#f7f7f9\"", "");
    body += text(left_px - 6, top[n] + std::min(node_px, 14.0) - 2, "text-anchor=\"end\"", input_.nodes[n].name);
  }
  draw_bars(body, top, lane_px);
  for (const auto& [t, n] : losses_)
    if (t >= from_ && t < to_)
      body += rect(x_of(t) - 1, top[static_cast<std::size_t>(n)], 2,
                   input_.nodes[static_cast<std::size_t>(n)].lanes * lane_px, "fill=\"#000\"", "the node is lost");
  draw_axis(body, chart_top, chart_top + chart_px);
  draw_goodput(body, chart_top, chart_px);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + num(left_px + width_px + 30) + "\" height=\"" +
         num(height) +
         "\" font-family=\"sans-serif\" font-size=\"11\">\n<defs><pattern id=\"load\" width=\"4\" height=\"4\" "
         "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"4\" height=\"4\" "
         "fill=\"#cfd4dc\"/><line x1=\"0\" y1=\"0\" x2=\"0\" y2=\"4\" stroke=\"#3c4657\" "
         "stroke-width=\"2\"/></pattern></defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n" +
         text(left_px, 24, "font-size=\"15\" font-weight=\"bold\"", title) +
         text(
             left_px, 44, "fill=\"#555\"",
             "A row for each lane; a colour for each function; red edges: a batch that ends after a deadline. Hatched, "
             "below the lanes: loads.") +
         body + "</svg>\n";
}

} // namespace squall::sim
