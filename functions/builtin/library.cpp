#include "functions/alignment.hpp"
#include "functions/builtin/builtin.hpp"
#include "functions/builtin/detail/pictures.hpp"
#include "functions/builtin/detail/support.hpp"
#include "functions/dag.hpp"
#include "functions/detail/text.hpp"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <new>

namespace squall::functions::builtins {

using functions::detail::join_names;
using functions::detail::names_of;
using functions::detail::quoted;
using functions::detail::unknown_name;

namespace {

error with_prefix(const std::string& prefix, error e) {
  e.message = prefix + ": " + e.message;
  return e;
}

/// Whether `given` may come in through port `p` of a builtin with this freedom. `what` makes its name.
template <class F>
result<> check_tensor(const F& what, signature ports, const port& p, const tensor& given) {
  const bool typed = ports == signature::any_type || given.type == p.type;
  if (ports != signature::fixed && typed && validate(given).ok())
    return {};
  port effective = p;
  effective.list = false;
  if (ports != signature::fixed)
    effective.shape = given.shape;
  if (ports == signature::any_type)
    effective.type = given.type;
  return check_value(what, effective, {given});
}

/// Elements of a list may be absent here, unlike in check_value(): what a map skipped is not there.
result<> check_input(signature ports, const port& p, const value& v) {
  const auto what = [&p] { return "input " + quoted(p.name); };
  const auto* const list = v.as_list();
  if (!v.absent() && !p.list && !list && ports != signature::fixed)
    return check_tensor(what, ports, p, *v.as_tensor());
  if (v.absent() || !p.list || !list || list->size() > max_map_width)
    return check_value(what, p, v);
  for (std::size_t i = 0; i < list->size(); ++i) {
    const auto& element = (*list)[i];
    const auto which = [&] { return what() + ", element " + std::to_string(i); };
    if (element.as_list())
      return {errc::invalid_argument, which() + ": expected a tensor, got a list"};
    if (element.as_tensor())
      SQUALL_TRY(check_tensor(which, ports, p, *element.as_tensor()));
  }
  return {};
}

/// Stands between a caller and a builtin: checks what comes in, so that each builtin can rely on its ports; and turns
/// exceptions of the libraries below (OpenCV throws on anything that it does not like) and of memory into errors, in
/// this one place.
class guarded final : public instance {
public:
  guarded(const builtin& what, std::unique_ptr<instance> inner) : what_(what), inner_(std::move(inner)) {}

  result<std::vector<value>> run(std::span<const value> inputs, const run_context& context) override {
    try {
      auto ran = checked_run(inputs, context);
      if (!ran.ok())
        return with_prefix(name(), std::move(ran).error());
      return ran;
    } catch (const std::bad_alloc&) {
      return {errc::failed, name() + ": out of memory"};
    } catch (const std::exception& e) {
      return {errc::failed, name() + ": " + e.what()};
    }
  }

private:
  [[nodiscard]] std::string name() const { return "builtin " + quoted(what_.name); }

  result<std::vector<value>> checked_run(std::span<const value> inputs, const run_context& context) {
    const bool own_ports = what_.ports == signature::free;
    if (!own_ports && inputs.size() != what_.inputs.size())
      return {errc::invalid_argument,
              "takes " + std::to_string(what_.inputs.size()) + " inputs, got " + std::to_string(inputs.size())};
    for (std::size_t i = 0; i < inputs.size() && !own_ports; ++i)
      SQUALL_TRY(check_input(what_.ports, what_.inputs[i], inputs[i]));
    std::vector<value> readable;
    if (!std::all_of(inputs.begin(), inputs.end(), [](const value& input) { return is_aligned(input); })) {
      readable.assign(inputs.begin(), inputs.end());
      for (value& input : readable)
        input = aligned(std::move(input));
      inputs = readable;
    }
    auto ran = inner_->run(inputs, context);
    SQUALL_CHECK(!ran.ok() || own_ports || ran->size() == what_.outputs.size(), what_.name, ran->size());
    return ran;
  }

  const builtin& what_;
  std::unique_ptr<instance> inner_;
};

std::vector<builtin> collect() {
  std::vector<builtin> out;
  for (auto* part : {detail::load_builtins, detail::codec_builtins, detail::image_builtins, detail::recipe_builtins,
                     detail::box_builtins, detail::tensor_builtins, detail::text_builtins, detail::ctc_builtins,
                     detail::file_builtins, detail::table_builtins, detail::table_group_builtins,
                     detail::table_join_builtins, detail::table_csv_builtins, detail::composite_builtins})
    for (auto& b : part())
      out.push_back(std::move(b));
  std::sort(out.begin(), out.end(), [](const builtin& a, const builtin& b) { return a.name < b.name; });
  return out;
}

bool narrows(const shape& general, const shape& given) {
  return std::equal(general.begin(), general.end(), given.begin(), given.end(),
                    [](auto g, auto x) { return g == -1 || g == x; });
}

/// Whether the ports that a user declared are those of the builtin.
result<> check_ports(const std::string& where, std::string_view noun, signature freedom,
                     const std::vector<port>& wanted, const std::vector<port>& given) {
  if (names_of(wanted) != names_of(given))
    return {errc::invalid_argument, where + " has the " + std::string{noun} + "s " + join_names(names_of(wanted)) +
                                        ", but the function declares " + join_names(names_of(given)) +
                                        "; leave them out to take those of the builtin"};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& w = wanted[i];
    const auto& g = given[i];
    const bool type_fits = freedom == signature::any_type || w.type == g.type;
    const bool shape_fits = freedom != signature::fixed || narrows(w.shape, g.shape);
    const auto what = where + ": " + std::string{noun} + " " + quoted(w.name);
    if (!type_fits || !shape_fits || w.list != g.list)
      return {errc::invalid_argument, what + " is " + describe(w) + ", but the function declares " + describe(g)};
    if (g.optional && !w.optional)
      return {errc::invalid_argument, what + " is not optional, but the function declares it so"};
  }
  return {};
}

result<> complete_for(const std::string& where, const variant_spec& v, function_spec& spec) {
  const auto* b = find(v.target);
  if (!b)
    return {errc::not_found, where + ": " + unknown_name("builtin", v.target, names_of(all()))};
  if (auto read = settings::read(b->parameters, v.parameters, nullptr); !read.ok())
    return with_prefix(where + ", builtin " + quoted(b->name), std::move(read).error());
  // What the parameters mean is found out now rather than at the first load; contents of resources are not here yet.
  const auto is_resource = [](const parameter& p) { return p.kind == parameter_kind::resource; };
  if (std::none_of(b->parameters.begin(), b->parameters.end(), is_resource))
    if (auto made = make_instance(*b, v.parameters, {}); !made.ok())
      return with_prefix(where, std::move(made).error());
  if (v.max_batch != 1)
    return {errc::invalid_argument, where + ": builtin functions run one item at a time; remove max_batch"};
  if (b->ports == signature::free)
    return {};
  if (spec.inputs.empty())
    spec.inputs = b->inputs;
  if (spec.outputs.empty())
    spec.outputs = b->outputs;
  SQUALL_TRY(check_ports(where + ": builtin " + quoted(b->name), "input", b->ports, b->inputs, spec.inputs));
  return check_ports(where + ": builtin " + quoted(b->name), "output", b->ports, b->outputs, spec.outputs);
}

} // namespace

std::span<const builtin> all() {
  static const std::vector<builtin> library = collect();
  return library;
}

const builtin* find(std::string_view name) {
  const auto library = all();
  const auto found = std::lower_bound(library.begin(), library.end(), name,
                                      [](const builtin& b, std::string_view wanted) { return b.name < wanted; });
  return found != library.end() && found->name == name ? &*found : nullptr;
}

result<std::vector<resource_key>> resources_of(const builtin& b, const parameter_map& parameters) {
  if (auto read = settings::read(b.parameters, parameters, nullptr); !read.ok())
    return with_prefix("builtin " + quoted(b.name), std::move(read).error());
  std::vector<resource_key> keys;
  for (const auto& p : b.parameters) {
    const auto given = parameters.find(std::string{p.name});
    if (p.kind == parameter_kind::resource && given != parameters.end() && !given->second.starts_with(inline_prefix))
      keys.push_back({given->first, given->second});
  }
  return keys;
}

result<std::vector<std::string>> keys_of(const builtin& b, const parameter_map& parameters,
                                         std::span<const value> inputs) {
  SQUALL_CHECK(b.keys != nullptr, b.name);
  auto read = settings::read(b.parameters, parameters, nullptr);
  auto keys = read.ok() ? b.keys(*read, inputs) : result<std::vector<std::string>>{std::move(read).error()};
  if (!keys.ok())
    return with_prefix("builtin " + quoted(b.name), std::move(keys).error());
  return keys;
}

result<std::unique_ptr<instance>> make_instance(const builtin& b, const parameter_map& parameters,
                                                const resource_map& resources) {
  detail::use_one_thread();
  auto read = settings::read(b.parameters, parameters, &resources);
  if (!read.ok())
    return with_prefix("builtin " + quoted(b.name), std::move(read).error());
  try {
    auto made = b.make(*read);
    if (!made.ok())
      return with_prefix("builtin " + quoted(b.name), std::move(made).error());
    return std::unique_ptr<instance>{std::make_unique<guarded>(b, std::move(made).value())};
  } catch (const std::exception& e) {
    return {errc::failed, "builtin " + quoted(b.name) + ": " + e.what()};
  }
}

result<function_spec> complete(function_spec spec) {
  for (std::size_t i = 0; i < spec.variants.size(); ++i) {
    const auto v = spec.variants[i]; // a copy: the ports of `spec` change below
    if (v.kind == variant_kind::builtin)
      SQUALL_TRY(complete_for("function " + quoted(spec.name) + ", variant " + quoted(v.name), v, spec));
  }
  return spec;
}

} // namespace squall::functions::builtins
