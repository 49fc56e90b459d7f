#include "functions/chain.hpp"

#include <charconv>

namespace squall::functions {

namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '\t' || c == '\n')
      out += '\\';
    out += c == '\t' ? 't' : c == '\n' ? 'n' : c;
  }
  return out;
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 1 < text.size();
    const char c = escape ? text[++i] : text[i];
    out += !escape ? c : c == 't' ? '\t' : c == 'n' ? '\n' : c;
  }
  return out;
}

std::string source_text(const std::optional<chain_source>& source) {
  if (!source)
    return "-";
  return source->step ? std::to_string(*source->step) + "." + std::to_string(source->port)
                      : "$" + std::to_string(source->port);
}

template <class Sources>
std::string sources_text(const Sources& sources) {
  std::string out;
  for (const auto& s : sources)
    out += (out.empty() ? "" : ",") + source_text(s);
  return out;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  while (true) {
    const auto end = text.find(at);
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos)
      return out;
    text.remove_prefix(end + 1);
  }
}

error bad(std::size_t line, const std::string& what) {
  return {errc::invalid_argument, "line " + std::to_string(line + 1) + " of the steps: " + what, {}};
}

bool number_in(std::string_view text, std::uint32_t& out) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
  return problem == std::errc{} && end == text.data() + text.size();
}

/// `steps`: how many there are to read from.
result<std::vector<std::optional<chain_source>>> read_sources(std::size_t line, std::string_view text,
                                                              std::size_t steps) {
  std::vector<std::optional<chain_source>> out;
  if (text.empty())
    return out;
  for (const auto part : split(text, ',')) {
    auto& source = out.emplace_back();
    if (part == "-")
      continue;
    source.emplace();
    const auto dot = part.find('.');
    std::uint32_t step = 0;
    const bool own = part.starts_with('$');
    const bool reads = own ? number_in(part.substr(1), source->port)
                           : dot != std::string_view::npos && number_in(part.substr(0, dot), step) &&
                                 number_in(part.substr(dot + 1), source->port);
    if (!reads || (!own && step >= steps))
      return bad(line, "'" + std::string{part} + "' is no input ($0), no output of an earlier step (0.1), and not '-'");
    if (!own)
      source->step = step;
  }
  return out;
}

} // namespace

std::string to_text(const chain& c) {
  std::string out;
  for (const auto& step : c.steps) {
    out += escaped(step.stage) + '\t' + escaped(step.builtin) + '\t' + sources_text(step.inputs);
    for (const auto& [name, text] : step.parameters)
      out += '\t' + escaped(name) + '=' + escaped(text);
    out += '\n';
  }
  return out + sources_text(c.outputs);
}

result<chain> chain_from_text(std::string_view text) {
  chain out;
  const auto lines = split(text, '\n');
  if (lines.size() < 2 || lines.size() > max_chain_steps + 1)
    return bad(0, "a chain has 1 to " + std::to_string(max_chain_steps) + " steps and a line of outputs");
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
    const auto parts = split(lines[i], '\t');
    if (parts.size() < 3)
      return bad(i, "a step is a stage, a builtin, inputs and parameters, with tabs between");
    chain_step step;
    step.stage = unescaped(parts[0]);
    step.builtin = unescaped(parts[1]);
    SQUALL_ASSIGN(inputs, read_sources(i, parts[2], i));
    step.inputs = std::move(inputs);
    for (std::size_t p = 3; p < parts.size(); ++p) {
      const auto sign = parts[p].find('=');
      if (sign == std::string_view::npos)
        return bad(i, "a parameter has no '='");
      step.parameters[unescaped(parts[p].substr(0, sign))] = unescaped(parts[p].substr(sign + 1));
    }
    out.steps.push_back(std::move(step));
  }
  SQUALL_ASSIGN(outputs, read_sources(lines.size() - 1, lines.back(), out.steps.size()));
  for (const auto& source : outputs) {
    if (!source)
      return bad(lines.size() - 1, "an output cannot be '-'");
    out.outputs.push_back(*source);
  }
  return out;
}

} // namespace squall::functions
