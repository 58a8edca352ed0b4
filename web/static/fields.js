// The controls that are made from parameters (templates/controls.html), as values.

export const fieldsOf = (form) => Array.from(form.querySelectorAll("[data-name][data-kind]"));
export const inputOf = (field) => field.querySelector(`[name="${field.dataset.name}"]`);

// What a control says: null where it is optional and says nothing, undefined where it is empty and may not be.
export function readField(field) {
  const input = inputOf(field);
  const isOptional = "optional" in field.dataset;
  switch (field.dataset.kind) {
    case "switch": return input.checked;
    case "integer":
    case "number": {
      if (input.value.trim() === "" && !input.validity.badInput) return isOptional ? null : undefined;
      const number = Number(input.value);
      return input.validity.badInput ? input.value || "?" : Number.isNaN(number) ? input.value.trim() : number;
    }
    case "text": {
      const toggle = field.querySelector("[data-switches]");
      return toggle && !toggle.checked ? null : input.value;
    }
    case "choice": return isOptional && input.value === "" ? null : input.value;
    default: throw new Error(`No control reads the kind ${field.dataset.kind}.`);
  }
}

export function readFields(form) {
  const read = fieldsOf(form).map((field) => [field.dataset.name, readField(field)]);
  return Object.fromEntries(read.filter(([, value]) => value !== undefined));
}
