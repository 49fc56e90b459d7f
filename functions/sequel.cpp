#include "functions/detail/text.hpp"
#include "functions/rewrite.hpp"

#include <algorithm>
#include <map>

namespace squall::functions {

using detail::quoted;

namespace {

template <class Things>
auto named(Things& things, std::string_view name) {
  return std::find_if(things.begin(), things.end(), [&](const auto& t) { return t.name == name; });
}

/// Points the sources of one DAG's stages and outputs at their places in the whole.
class part {
public:
  part(const dag_spec& spec, dag_spec& whole) : spec_(spec), whole_(whole), prefix_(spec.name) {
    std::replace(prefix_.begin(), prefix_.end(), '.', '-'); // stages have no dots
    prefix_ += "--";
    const auto taken = [&](const stage_spec& s) { return s.name.starts_with(prefix_); };
    while (std::any_of(whole.stages.begin(), whole.stages.end(), taken))
      prefix_ += "again-"; // a DAG that continues itself
  }

  /// The DAG with the names that its stages have in a sequel; all but its stages and outputs is `like`.
  static dag_spec renamed(const dag_spec& spec, dag_spec like) {
    like.stages.clear();
    part all{spec, like};
    all.add_stages();
    for (auto& output : like.outputs)
      output.source = all.placed(output.source);
    return like;
  }

  /// An input of this DAG is this output of another part.
  void feed(const std::string& input, binding source) { fed_[input] = std::move(source); }

  void add_stages() {
    for (auto s : spec_.stages) {
      s.name = prefix_ + s.name;
      for (auto& input : s.inputs)
        input.source = placed(input.source);
      if (s.when)
        place(*s.when);
      whole_.stages.push_back(std::move(s));
    }
  }

  [[nodiscard]] binding placed(binding b) const {
    if (b.from == binding::source::stage_output)
      b.stage = prefix_ + b.stage;
    else if (const auto fed = fed_.find(b.port); b.from == binding::source::dag_input && fed != fed_.end())
      return fed->second;
    return b;
  }

private:
  void place(predicate& p) const {
    p.subject = placed(p.subject);
    for (auto& child : p.children)
      place(child);
  }

  const dag_spec& spec_;
  dag_spec& whole_;
  std::string prefix_;
  std::map<std::string, binding> fed_;
};

error does_not_follow(std::string_view last, const dag_spec& next, const std::string& why) {
  return {errc::invalid_argument, quoted(next.name) + " cannot continue " + quoted(last) + ": " + why, {}};
}

/// Which output of `first` an input of `next` takes: the one of its name. Where no name fits, the only required input
/// takes the only output.
std::optional<std::size_t> output_for(const port& input, const std::vector<port>& outputs, const dag_spec& next) {
  if (const auto same = named(outputs, input.name); same != outputs.end())
    return static_cast<std::size_t>(same - outputs.begin());
  const auto fits = [&](const port& p) { return named(outputs, p.name) != outputs.end(); };
  const auto required =
      std::count_if(next.inputs.begin(), next.inputs.end(), [](const port& p) { return !p.optional; });
  if (outputs.size() == 1 && required == 1 && !input.optional &&
      std::none_of(next.inputs.begin(), next.inputs.end(), fits))
    return 0;
  return std::nullopt;
}

/// "DAG.OUTPUT", or "DAG.again.OUTPUT" when the DAG has run before.
void qualify(dag_spec& whole, std::size_t output, std::string_view last) {
  const auto own = whole.outputs[output].name;
  auto prefix = std::string{last} + ".";
  while (named(whole.outputs, prefix + own) != whole.outputs.end())
    prefix += "again.";
  whole.outputs[output].name = prefix + own;
}

} // namespace

port output_port(const dag& d, std::size_t output, const std::function<const function_spec*(function_id)>& get) {
  const auto& source = d.outputs[output];
  port out;
  if (source.from == binding::source::dag_input) {
    out = d.spec.inputs[source.port];
  } else if (source.from == binding::source::stage_output) {
    const auto& s = d.stages[source.stage];
    if (const auto* function = get(s.function))
      out = function->outputs[source.port];
    out.list = out.list || s.map;
  }
  out.name = d.spec.outputs[output].name;
  return out;
}

result<dag_spec> sequel(const dag_spec& first, std::string_view last, const std::vector<port>& outputs,
                        const dag_spec& next) {
  dag_spec whole = first;
  whole.name = (first.name + ".then." + next.name).substr(0, max_name_length);
  if (first.name == last) // its stages do not say yet whose they are
    whole = part::renamed(first, whole);
  part after{next, whole};
  for (const auto& input : next.inputs) {
    if (const auto output = output_for(input, outputs, next)) {
      const auto& given = outputs[*output];
      if (given.type != input.type || given.list != input.list)
        return does_not_follow(last, next,
                               "its input " + quoted(input.name) + " is " + describe(input) + ", but output " +
                                   quoted(given.name) + " is " + describe(given));
      after.feed(input.name, whole.outputs[*output].source);
      continue;
    }
    const auto known = named(whole.inputs, input.name);
    if (known == whole.inputs.end())
      whole.inputs.push_back(input);
    else if (known->type != input.type || known->list != input.list || known->shape != input.shape)
      return does_not_follow(last, next,
                             "both have an input " + quoted(input.name) + ", which is " + describe(*known) + " and " +
                                 describe(input) + "; rename one");
    else
      known->optional = known->optional && input.optional;
  }
  after.add_stages();
  for (std::size_t i = 0; i < outputs.size(); ++i)
    qualify(whole, i, last);
  for (std::size_t i = 0; i < next.outputs.size(); ++i)
    whole.outputs.insert(whole.outputs.begin() + static_cast<std::ptrdiff_t>(i),
                         {next.outputs[i].name, after.placed(next.outputs[i].source)});
  for (const auto& rule : next.optimize)
    if (std::find(whole.optimize.begin(), whole.optimize.end(), rule) == whole.optimize.end())
      whole.optimize.push_back(rule);
  return whole;
}

} // namespace squall::functions
