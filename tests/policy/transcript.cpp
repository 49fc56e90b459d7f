#include "tests/policy/transcript.hpp"

#include "calls/json.hpp"
#include "policy/node_queue.hpp"
#include "policy/scheduler.hpp"

#include <array>
#include <charconv>
#include <sstream>

namespace squall::policy {

namespace {

// -- printing
// -----------------------------------------------------------------------------------------------------------------

struct unit_name {
  std::string_view name;
  std::int64_t ns;
};
constexpr std::array<unit_name, 4> units{{{"s", 1'000'000'000}, {"ms", 1'000'000}, {"us", 1'000}, {"ns", 1}}};

std::string print_ns(std::int64_t ns) {
  for (const unit_name& u : units)
    if (ns % u.ns == 0)
      return std::to_string(ns / u.ns) + std::string{u.name};
  return {};
}

template <class T>
std::string print(const T& v);

/// Collects fields as "name=value".
struct field_printer {
  std::vector<std::string> fields;
  template <class T>
  void operator()(const char* name, const T& field) {
    fields.push_back(std::string{name} + "=" + print(field));
  }
};

template <class T>
std::string print_fields(const T& v) {
  field_printer given;
  field_printer usual;
  T::fields(v, given);
  const T fresh{};
  T::fields(fresh, usual);
  std::string out;
  for (std::size_t i = 0; i < given.fields.size(); ++i)
    if (given.fields[i] != usual.fields[i])
      out += (out.empty() ? "" : " ") + given.fields[i];
  return out;
}

template <class T>
std::string print(const T& v) {
  if constexpr (std::is_same_v<T, bool>) {
    return v ? "true" : "false";
  } else if constexpr (calls::named_enum<T>) {
    return std::string{to_string(v)};
  } else if constexpr (std::is_integral_v<T>) {
    return std::to_string(v);
  } else if constexpr (std::is_same_v<T, duration>) {
    return print_ns(v.count());
  } else if constexpr (std::is_same_v<T, time_point>) {
    return v == never ? "never" : print_ns(to_ns(v));
  } else if constexpr (calls::strong_id_type<T>) {
    return to_string(v);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return '"' + v + '"';
  } else if constexpr (calls::vector_type<T>) {
    std::string out;
    for (const auto& element : v)
      out += (out.empty() ? "" : " ") + print(element);
    return '[' + out + ']';
  } else {
    return '{' + print_fields(v) + '}';
  }
}

// -- reading
// ------------------------------------------------------------------------------------------------------------------

/// Rewrites `a=1 b=[2ms {c=word}]` as JSON, which json.hpp then reads with all its checks.
class to_json_text {
public:
  explicit to_json_text(std::string_view text) : rest_(text) {}

  result<std::string> run() {
    SQUALL_TRY(fields('\0'));
    return out_;
  }

private:
  void skip() {
    while (!rest_.empty() && rest_.front() == ' ')
      rest_.remove_prefix(1);
  }
  bool take(char c) {
    skip();
    if (rest_.empty() || rest_.front() != c)
      return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view word() {
    const auto end = std::min(rest_.find_first_of(" =[]{}\""), rest_.size());
    const auto out = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return out;
  }

  result<> fields(char close) {
    out_ += '{';
    for (bool first = true;; first = false) {
      skip();
      if (close == '\0' ? rest_.empty() : take(close))
        break;
      const std::string_view name = word();
      if (name.empty() || !take('='))
        return {errc::invalid_argument, "expected name=value at '" + std::string{rest_} + "'"};
      out_ += (first ? "\"" : ",\"") + std::string{name} + "\":";
      SQUALL_TRY(value());
    }
    out_ += '}';
    return {};
  }

  result<> value() {
    if (take('{'))
      return fields('}');
    if (take('['))
      return list();
    if (take('"')) {
      const auto end = rest_.find('"');
      if (end == std::string_view::npos)
        return {errc::invalid_argument, "a text does not end"};
      out_ += '"' + std::string{rest_.substr(0, end)} + '"';
      rest_.remove_prefix(end + 1);
      return {};
    }
    const std::string_view w = word();
    if (w.empty())
      return {errc::invalid_argument, "expected a value at '" + std::string{rest_} + "'"};
    out_ += plain(w);
    return {};
  }

  result<> list() {
    out_ += '[';
    for (bool first = true; !take(']'); first = false) {
      if (rest_.empty())
        return {errc::invalid_argument, "a list does not end"};
      out_ += first ? "" : ",";
      SQUALL_TRY(value());
    }
    out_ += ']';
    return {};
  }

  static std::string plain(std::string_view w) {
    if (w == "true" || w == "false")
      return std::string{w};
    if (w == "never")
      return "null";
    std::int64_t number = 0;
    const auto [end, code] = std::from_chars(w.data(), w.data() + w.size(), number);
    const std::string_view unit = w.substr(static_cast<std::size_t>(end - w.data()));
    if (code == std::errc{} && unit.empty())
      return std::string{w};
    for (const unit_name& u : units)
      if (code == std::errc{} && unit == u.name)
        return std::to_string(number * u.ns);
    return '"' + std::string{w} + '"';
  }

  std::string_view rest_;
  std::string out_;
};

template <class T>
result<T> parse_fields(std::string_view text) {
  SQUALL_ASSIGN(json, to_json_text{text}.run());
  return calls::from_json<T>(json);
}

template <class Event>
result<Event> parse_fact(std::string_view name, std::string_view text) {
  SQUALL_ASSIGN(json, to_json_text{text}.run());
  return calls::from_json<Event>("{\"" + std::string{name} + "\":" + json + "}");
}

struct moment {
  duration at{0};
  template <class S, class V>
  static void fields(S& s, V& v) {
    v("at", s.at);
  }
};

result<time_point> parse_time(std::string_view text) {
  const auto read = parse_fields<moment>("at=" + std::string{text});
  if (!read.ok())
    return {errc::invalid_argument, "'" + std::string{text} + "' is not a time"};
  return from_ns(read->at.count());
}

// -- running
// ------------------------------------------------------------------------------------------------------------------

/// One of the two cores behind one face.
class player {
public:
  virtual ~player() = default;
  virtual result<std::string> fact(time_point at, std::string_view name, std::string_view fields) = 0;
  virtual result<> save() = 0;
};

template <class Core, class Event, class Config>
class player_of final : public player {
public:
  explicit player_of(const Config& config) : core_(std::make_unique<Core>(config, 1)) {}

  result<std::string> fact(time_point at, std::string_view name, std::string_view fields) override {
    SQUALL_ASSIGN(event, parse_fact<Event>(name, fields));
    core_->step(at, event);
    std::string out;
    for (const auto& command : core_->take_commands())
      out += std::visit(
          [](const auto& c) {
            const std::string text = print_fields(c);
            return "  > " + std::string{calls::type_name<std::decay_t<decltype(c)>>()} + (text.empty() ? "" : " ") +
                   text + "\n";
          },
          command);
    const auto next = core_->next_deadline();
    if (next != until_)
      out += "  until " + (next ? print_ns(to_ns(*next)) : std::string{"nothing"}) + "\n";
    until_ = next;
    return out;
  }

  result<> save() override {
    SQUALL_ASSIGN(restored, Core::restore(core_->save()));
    if (restored->hash() != core_->hash())
      return {errc::internal, "the restored core has another state"};
    core_ = std::move(restored);
    return {};
  }

private:
  std::unique_ptr<Core> core_;
  std::optional<time_point> until_;
};

result<std::unique_ptr<player>> make_player(std::string_view line) {
  const auto end = std::min(line.find(' '), line.size());
  const std::string_view name = line.substr(0, end);
  const std::string_view fields = line.substr(end);
  if (name == "scheduler") {
    SQUALL_ASSIGN(config, parse_fields<scheduler_config>(fields));
    return std::unique_ptr<player>{
        std::make_unique<player_of<scheduler, calls::placing::event, scheduler_config>>(config)};
  }
  if (name == "node_queue") {
    SQUALL_ASSIGN(config, parse_fields<node_queue_config>(fields));
    return std::unique_ptr<player>{
        std::make_unique<player_of<node_queue, calls::queueing::event, node_queue_config>>(config)};
  }
  return {errc::invalid_argument, "no core is called '" + std::string{name} + "'"};
}

result<std::string> play_line(std::unique_ptr<player>& core, std::string_view line) {
  if (line.starts_with("core ")) {
    SQUALL_ASSIGN(made, make_player(line.substr(5)));
    core = std::move(made);
    return std::string{};
  }
  if (!core)
    return {errc::invalid_argument, "the core comes first"};
  if (line == "save") {
    SQUALL_TRY(core->save());
    return std::string{};
  }
  const auto time_end = std::min(line.find(' '), line.size());
  if (!line.starts_with('@') || time_end == line.size())
    return {errc::invalid_argument, "expected '@TIME FACT fields'"};
  SQUALL_ASSIGN(at, parse_time(line.substr(1, time_end - 1)));
  const std::string_view rest = line.substr(time_end + 1);
  const auto name_end = std::min(rest.find(' '), rest.size());
  return core->fact(at, rest.substr(0, name_end), rest.substr(name_end));
}

} // namespace

result<std::string> run_transcript(std::string_view text) {
  std::unique_ptr<player> core;
  std::istringstream in{std::string{text}};
  std::string out;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.starts_with("  > ") || line.starts_with("  until "))
      continue;
    out += line + "\n";
    if (line.empty() || line.starts_with('#'))
      continue;
    auto below = play_line(core, line);
    if (!below.ok())
      return {below.error().code, "line " + std::to_string(number) + ": " + below.error().message};
    out += *below;
  }
  return out;
}

std::string first_difference(std::string_view expected, std::string_view actual) {
  if (expected == actual)
    return {};
  std::istringstream a{std::string{expected}};
  std::istringstream b{std::string{actual}};
  std::string before;
  std::string left;
  std::string right;
  for (int line = 1;; ++line) {
    const bool has_left = static_cast<bool>(std::getline(a, left));
    const bool has_right = static_cast<bool>(std::getline(b, right));
    if (has_left && has_right && left == right) {
      before = left;
      continue;
    }
    return "line " + std::to_string(line) + "\n    " + before + "\n  - " + (has_left ? left : "(the end)") + "\n  + " +
           (has_right ? right : "(the end)") + "\n";
  }
}

} // namespace squall::policy
