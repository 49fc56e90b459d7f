#include "functions/builtin/detail/expression.hpp"
#include "functions/builtin/detail/expression_node.hpp"
#include "functions/detail/text.hpp"

#include <array>
#include <cctype>
#include <charconv>
#include <set>

namespace squall::functions::builtins::detail {

using functions::detail::quoted;

namespace {

using node_ptr = std::shared_ptr<const expression_node>;

constexpr std::size_t max_expression_bytes = 2048;
constexpr int max_depth = 64;

bool is_name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.'; }

/// The binary operators by how tightly they bind, loosest first.
constexpr std::array<std::array<std::string_view, 6>, 5> levels{
    {{"or"}, {"and"}, {"==", "!=", "<=", ">=", "<", ">"}, {"+", "-"}, {"*", "/", "%"}}};
constexpr std::size_t comparison_level = 2;

class parser {
public:
  explicit parser(std::string_view text) : text_(text) {}

  result<node_ptr> whole() {
    if (text_.size() > max_expression_bytes)
      return {errc::too_large, "an expression of " + std::to_string(text_.size()) + " bytes; it has at most " +
                                   std::to_string(max_expression_bytes)};
    SQUALL_ASSIGN(root, binary(0));
    if (skip_spaces(); at_ < text_.size())
      return expected("an operator or the end");
    return root;
  }

private:
  error expected(const std::string& what) const {
    return invalid("expected " + what + " at " + quoted(text_.substr(std::min(at_, text_.size()), 20)) + " of " +
                   quoted(text_));
  }

  void skip_spaces() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0)
      ++at_;
  }

  /// Words only match as a whole.
  bool take(std::string_view token) {
    skip_spaces();
    if (text_.substr(at_, token.size()) != token)
      return false;
    const auto after = at_ + token.size();
    if (is_name_char(token.back()) && after < text_.size() && is_name_char(text_[after]))
      return false;
    at_ = after;
    return true;
  }

  static node_ptr call(std::string_view name, std::vector<node_ptr> arguments) {
    auto node = std::make_shared<expression_node>();
    node->what = expression_node::kind::call;
    node->text = name;
    node->arguments = std::move(arguments);
    return node;
  }

  std::optional<std::string_view> take_operator(std::size_t level) {
    for (const auto token : levels[level])
      if (!token.empty() && take(token))
        return token;
    return std::nullopt;
  }

  result<node_ptr> binary(std::size_t level) {
    if (level == levels.size())
      return unary();
    SQUALL_ASSIGN(left, binary(level + 1));
    while (const auto token = take_operator(level)) {
      SQUALL_ASSIGN(right, binary(level + 1));
      left = call(*token, {std::move(left), std::move(right)});
      if (level == comparison_level)
        break; // a < b < c says what nobody means
    }
    return left;
  }

  result<node_ptr> unary() {
    if (++depth_ > max_depth)
      return {errc::too_large, "an expression is nested more than " + std::to_string(max_depth) + " deep"};
    auto out = take("not") ? negated("not") : take("-") ? negated("negate") : primary();
    --depth_;
    return out;
  }

  /// "not" binds looser than a comparison, as in Python.
  result<node_ptr> negated(std::string_view name) {
    SQUALL_ASSIGN(of, name == "not" ? binary(comparison_level) : unary());
    return call(name, {std::move(of)});
  }

  result<node_ptr> primary() {
    skip_spaces();
    if (at_ >= text_.size())
      return expected("a column, a number, a 'text' or '('");
    const char c = text_[at_];
    if (take("(")) {
      SQUALL_ASSIGN(inner, binary(0));
      if (!take(")"))
        return expected("')'");
      return inner;
    }
    if (c == '\'')
      return quoted_text(expression_node::kind::text);
    if (c == '`')
      return quoted_text(expression_node::kind::column);
    if (std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '.')
      return number();
    if (is_name_char(c))
      return name();
    return expected("a column, a number, a 'text' or '('");
  }

  result<node_ptr> quoted_text(expression_node::kind what) {
    const char quote = text_[at_];
    const auto end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos)
      return expected(std::string{"the closing "} + quote);
    auto node = std::make_shared<expression_node>();
    node->what = what;
    node->text = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return node_ptr{std::move(node)};
  }

  result<node_ptr> number() {
    const char* const begin = text_.data() + at_;
    const char* const end = text_.data() + text_.size();
    auto node = std::make_shared<expression_node>();
    auto parsed = std::from_chars(begin, end, node->integer);
    if (parsed.ec != std::errc{} ||
        (parsed.ptr != end && (*parsed.ptr == '.' || *parsed.ptr == 'e' || *parsed.ptr == 'E'))) {
      node->what = expression_node::kind::number;
      parsed = std::from_chars(begin, end, node->number);
    }
    if (parsed.ec != std::errc{} || (parsed.ptr != end && is_name_char(*parsed.ptr)))
      return expected("a number");
    at_ += static_cast<std::size_t>(parsed.ptr - begin);
    return node_ptr{std::move(node)};
  }

  result<node_ptr> name() {
    const auto begin = at_;
    while (at_ < text_.size() && is_name_char(text_[at_]))
      ++at_;
    const auto word = text_.substr(begin, at_ - begin);
    auto node = std::make_shared<expression_node>();
    node->text = word;
    if (word == "true" || word == "false") {
      node->what = expression_node::kind::boolean;
      node->boolean = word == "true";
      return node_ptr{std::move(node)};
    }
    node->what = expression_node::kind::column;
    if (!take("("))
      return node_ptr{std::move(node)};
    node->what = expression_node::kind::call;
    while (!take(")")) {
      if (!node->arguments.empty() && !take(","))
        return expected("',' or ')'");
      SQUALL_ASSIGN(argument, binary(0));
      node->arguments.push_back(std::move(argument));
    }
    return node_ptr{std::move(node)};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

/// The place of a "=" that is no comparison, outside of quotes; npos when there is none.
std::size_t assignment(std::string_view text) {
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != 0)
      quote = c == quote ? 0 : quote;
    else if (c == '\'' || c == '`')
      quote = c;
    else if (c == '(' || c == '<' || c == '>' || c == '!')
      return std::string_view::npos;
    else if (c == '=')
      return i + 1 < text.size() && text[i + 1] == '=' ? std::string_view::npos : i;
  }
  return std::string_view::npos;
}

} // namespace

result<expression> expression::parse(std::string_view text) {
  SQUALL_ASSIGN(root, parser{text}.whole());
  return expression{std::move(root)};
}

std::optional<std::string_view> expression::plain_column() const {
  if (root_->what != expression_node::kind::column)
    return std::nullopt;
  return root_->text;
}

result<std::string> parse_column_name(std::string_view given) {
  const auto text = trimmed(given);
  const bool quotes = text.size() > 2 && text.front() == '`' && text.find('`', 1) == text.size() - 1;
  if (quotes)
    return std::string{text.substr(1, text.size() - 2)};
  if (text.empty() || !std::all_of(text.begin(), text.end(), is_name_char))
    return invalid(quoted(text) +
                   " is not the name of a column; write others than letters, digits, '_' and '.' within "
                   "backquotes");
  return std::string{text};
}

result<std::vector<std::string>> parse_column_names(std::string_view text, std::size_t least) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const auto part : split_list(text)) {
    SQUALL_ASSIGN(name, parse_column_name(part));
    if (!seen.insert(name).second)
      return invalid("column " + quoted(name) + " is named twice");
    names.push_back(std::move(name));
  }
  if (names.size() < least)
    return invalid(quoted(text) + " names " + std::to_string(names.size()) + " columns; name at least " +
                   std::to_string(least) + ", with commas between");
  return names;
}

result<definition> parse_definition(std::string_view text) {
  const auto sign = assignment(text);
  SQUALL_ASSIGN(of, expression::parse(trimmed(sign == std::string_view::npos ? text : text.substr(sign + 1))));
  if (sign != std::string_view::npos) {
    SQUALL_ASSIGN(name, parse_column_name(text.substr(0, sign)));
    return definition{std::move(name), std::move(of)};
  }
  const auto column = of.plain_column();
  if (!column)
    return invalid(quoted(text) + " makes a column without a name; write NAME = " + std::string{trimmed(text)});
  return definition{std::string{*column}, of};
}

} // namespace squall::functions::builtins::detail
