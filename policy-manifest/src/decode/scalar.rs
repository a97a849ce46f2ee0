//! Scalars by the type that the API gives them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use policy_core::model::{PortSpec, Protocol};

use super::{Field, nearest};
use crate::{problem::Problem, syntax, yaml::Value};

impl Field<'_> {
    /// A string. Text that YAML 1.1 parsers read as another type needs quotes.
    pub(crate) fn string(&self) -> Option<String> {
        let (text, read_as) = match &self.node.value {
            Value::Text(text) => return Some(text.clone()),
            Value::Bool(_, text) => (text, "a boolean"),
            Value::Number(text) => (text, "a number"),
            Value::Null => {
                self.reject(Problem::NoValue);
                return None;
            }
            Value::List(_) | Value::Map(_) => {
                self.reject_type("a string");
                return None;
            }
        };
        self.reject(Problem::NeedsQuotes { text: text.clone(), read_as });
        None
    }

    /// A string or number, as written.
    pub(crate) fn written(&self) -> Option<String> {
        if let Value::Number(text) = &self.node.value { Some(text.clone()) } else { self.string() }
    }

    /// Whether the value is the string `text`.
    pub(crate) fn is_string(&self, text: &str) -> bool {
        matches!(&self.node.value, Value::Text(found) if found == text)
    }

    /// Whether the value is the empty string, which in many fields means absent.
    pub(crate) fn is_empty_string(&self) -> bool {
        self.is_string("")
    }

    /// Whether the value is the number `text`.
    pub(crate) fn is_number(&self, text: &str) -> bool {
        matches!(&self.node.value, Value::Number(found) if found == text)
    }

    /// A string that `legal` accepts.
    pub(crate) fn checked(
        &self,
        legal: fn(&str) -> bool,
        problem: fn(String) -> Problem,
    ) -> Option<String> {
        let text = self.string()?;
        if legal(&text) {
            return Some(text);
        }
        self.reject(problem(text));
        None
    }

    /// One of a few words; an error lists them.
    pub(crate) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let found = self.string()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return Some(*value);
        }
        let nearest = nearest(&found, words.iter().map(|(word, _)| *word)).map(str::to_owned);
        let allowed = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        self.reject(Problem::NotOneOf { found, allowed, nearest });
        None
    }

    /// A boolean of YAML 1.1: `yes` and `on` too.
    pub(crate) fn boolean(&self) -> Option<bool> {
        if let Value::Bool(value, _) = self.node.value {
            return Some(value);
        }
        self.reject_type("true or false");
        None
    }

    /// A whole number from 0 to `most`.
    pub(crate) fn whole_number(&self, most: u16) -> Option<u16> {
        let Value::Number(text) = &self.node.value else {
            self.reject_type("a whole number");
            return None;
        };
        // Go reads a leading zero as octal.
        let legal = |number: &u16| *number <= most && *text == number.to_string();
        let number = text.parse().ok().filter(legal);
        if number.is_none() {
            self.reject(Problem::OutOfRange { found: text.clone(), most });
        }
        number
    }

    /// A port by its number.
    pub(crate) fn port(&self) -> Option<u16> {
        let Value::Number(text) = &self.node.value else {
            self.reject_type("a whole number");
            return None;
        };
        // Go reads a leading zero as octal, so 080 is not 80.
        let port = text.parse().ok().filter(|port: &u16| *port != 0 && *text == port.to_string());
        if port.is_none() {
            self.reject(Problem::PortNumber { found: text.clone() });
        }
        port
    }

    /// A port by its number or name (`IntOrString`), the number as a range of one.
    pub(crate) fn port_or_name(&self) -> Option<PortSpec> {
        if let Value::Number(_) = self.node.value {
            return self.port().map(|port| PortSpec::Range { first: port, last: port });
        }
        let name = self.string()?;
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            self.reject(Problem::QuotedPort { found: name });
            return None;
        }
        self.port_name().map(PortSpec::Named)
    }

    /// The name of a port.
    pub(crate) fn port_name(&self) -> Option<String> {
        self.checked(syntax::is_port_name, |found| Problem::PortName { found })
    }

    /// A protocol.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.word(&Protocol::ALL.map(|protocol| (protocol.name(), protocol)))
    }

    /// A CIDR; host bits are masked off.
    pub(crate) fn block(&self) -> Option<IpNetwork> {
        let found = self.string()?;
        let block = syntax::block(&found);
        if block.is_none() {
            self.reject(Problem::Cidr { found });
        }
        block
    }

    /// An address of either family.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let found = self.string()?;
        let address = syntax::address(&found);
        if address.is_none() {
            self.reject(Problem::Address { found });
        }
        address
    }
}
