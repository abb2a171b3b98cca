//! Reads pickles: a stack machine over a list of nodes, from which the value is built at the end.
//!
//! Nodes name each other by number, so that a list may be put into the memo before it is filled, as pickles do. Whether it
//! holds itself, and what it stands for when all that is shared is told apart, is seen only when the value is built.

mod bytes;
mod text;

use std::collections::HashMap;

use bytes::Bytes;
use jiff::civil::DateTime;

use super::opcode::{Opcode, refused_name};
use super::{DEPTH_MAX, ITEMS_MAX, MEMO_MAX, PICKLE_BYTES_MAX, Pickle, PickleError, TEXT_BYTES_MAX};

/// Reads a pickle.
///
/// # Errors
/// Where it does more than build data (the opcode is named), goes beyond a limit, or is malformed.
pub fn read(pickle: &[u8]) -> Result<Pickle, PickleError> {
    if pickle.len() > PICKLE_BYTES_MAX {
        return Err(PickleError::TooLarge { bytes: pickle.len() });
    }
    let mut machine = Machine::new(pickle);
    let value = machine.run()?;
    let mut budget = Budget { items: ITEMS_MAX, text_bytes: TEXT_BYTES_MAX };
    machine.build(value, DEPTH_MAX, &mut budget)
}

/// Number of a node.
type Id = usize;

enum Node {
    Scalar(Pickle),
    /// A list or a tuple.
    List(Vec<Id>),
    Map(Vec<(Id, Id)>),
    Callable(Callable),
}

/// The two names that pickles may look up; nothing is looked up for them.
#[derive(Clone, Copy)]
enum Callable {
    DateTime,
    Decimal,
}

enum Slot {
    Mark,
    Node(Id),
}

struct Machine<'a> {
    input: Bytes<'a>,
    nodes: Vec<Node>,
    stack: Vec<Slot>,
    memo: HashMap<u32, Id>,
    /// Values put on the stack so far.
    pushed: usize,
}

/// What may still be built.
struct Budget {
    items: usize,
    text_bytes: usize,
}

impl<'a> Machine<'a> {
    fn new(pickle: &'a [u8]) -> Self {
        Self {
            input: Bytes::new(pickle),
            nodes: Vec::new(),
            stack: Vec::new(),
            memo: HashMap::new(),
            pushed: 0,
        }
    }

    /// Runs to the end; gives what is on top of the stack then.
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let (at, code) = (self.input.at(), self.input.u8()?);
            match Opcode::of(code) {
                None => return Err(PickleError::Forbidden { code, name: refused_name(code), at }),
                Some(Opcode::Stop) => break,
                Some(Opcode::Reduce) => self.reduce(code, at)?,
                Some(opcode) => self.step(opcode)?,
            }
        }
        let value = self.pop()?;
        if !self.stack.is_empty() {
            return Err(self.malformed("more than one value is left at its end"));
        }
        if !self.input.is_empty() {
            return Err(self.malformed("nothing may follow its end"));
        }
        Ok(value)
    }

    fn step(&mut self, opcode: Opcode) -> Result<(), PickleError> {
        match opcode {
            Opcode::Proto => match self.input.u8()? {
                0..=2 => Ok(()),
                newer => Err(PickleError::Protocol(newer)),
            },
            Opcode::Mark => self.push_slot(Slot::Mark),
            Opcode::Pop => match self.stack.pop() {
                Some(_) => Ok(()),
                None => Err(self.malformed("a value is missing on the stack")),
            },
            Opcode::PopMark => self.pop_to_mark().map(drop),
            Opcode::Dup => {
                let top = self.pop()?;
                self.push_slot(Slot::Node(top))?;
                self.push_slot(Slot::Node(top))
            }
            Opcode::None => self.scalar(Pickle::None),
            Opcode::NewTrue => self.scalar(Pickle::Bool(true)),
            Opcode::NewFalse => self.scalar(Pickle::Bool(false)),
            Opcode::Int
            | Opcode::BinInt
            | Opcode::BinInt1
            | Opcode::BinInt2
            | Opcode::Long
            | Opcode::Long1
            | Opcode::Long4
            | Opcode::Float
            | Opcode::BinFloat => {
                let number = self.number(opcode)?;
                self.scalar(number)
            }
            Opcode::String
            | Opcode::BinString
            | Opcode::ShortBinString
            | Opcode::Unicode
            | Opcode::BinUnicode => {
                let text = self.text(opcode)?;
                self.scalar(Pickle::Text(text))
            }
            Opcode::EmptyList | Opcode::EmptyTuple => self.push(Node::List(Vec::new())),
            Opcode::List | Opcode::Tuple => {
                let items = self.pop_to_mark()?;
                self.push(Node::List(items))
            }
            Opcode::Tuple1 => self.tuple(1),
            Opcode::Tuple2 => self.tuple(2),
            Opcode::Tuple3 => self.tuple(3),
            Opcode::Append => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            Opcode::Appends => {
                let items = self.pop_to_mark()?;
                self.append(items)
            }
            Opcode::EmptyDict => self.push(Node::Map(Vec::new())),
            Opcode::Dict => {
                let members = self.pop_to_mark()?;
                self.push(Node::Map(Vec::new()))?;
                self.set(&members)
            }
            Opcode::SetItem => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])
            }
            Opcode::SetItems => {
                let members = self.pop_to_mark()?;
                self.set(&members)
            }
            Opcode::Put | Opcode::BinPut | Opcode::LongBinPut => self.put(opcode),
            Opcode::Get | Opcode::BinGet | Opcode::LongBinGet => self.get(opcode),
            Opcode::Global => self.global(),
            // Told apart in `run`.
            Opcode::Stop | Opcode::Reduce => Ok(()),
        }
    }

    fn number(&mut self, opcode: Opcode) -> Result<Pickle, PickleError> {
        let input = &mut self.input;
        Ok(match opcode {
            Opcode::Int => return input.int_line(),
            Opcode::Long => Pickle::Int(input.long_line()?),
            Opcode::BinInt => Pickle::Int(i32::from_le_bytes(input.array()?).into()),
            Opcode::BinInt1 => Pickle::Int(input.u8()?.into()),
            Opcode::BinInt2 => Pickle::Int(u16::from_le_bytes(input.array()?).into()),
            Opcode::Long1 => {
                let len = input.u8()?;
                Pickle::Int(input.long(len.into())?)
            }
            Opcode::Long4 => {
                let len = input.len_u32()?;
                Pickle::Int(input.long(len)?)
            }
            Opcode::Float => Pickle::Float(input.float_line()?),
            _ => Pickle::Float(f64::from_be_bytes(input.array()?)),
        })
    }

    fn text(&mut self, opcode: Opcode) -> Result<String, PickleError> {
        let input = &mut self.input;
        let len = match opcode {
            Opcode::String => return input.string_line(),
            Opcode::Unicode => return input.unicode_line(),
            Opcode::ShortBinString => input.u8()?.into(),
            _ => input.len_u32()?,
        };
        input.utf8(len)
    }

    fn tuple(&mut self, len: usize) -> Result<(), PickleError> {
        let mut items = Vec::with_capacity(len);
        for _ in 0..len {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::List(items))
    }

    /// Appends to the list that is on top of the stack.
    fn append(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let at = self.input.at();
        match self.top().and_then(|top| self.nodes.get_mut(top)) {
            Some(Node::List(list)) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(PickleError::Malformed { at, rule: "what is appended to must be a list" }),
        }
    }

    /// Sets members (key, value, key, value …) of the map that is on top of the stack.
    fn set(&mut self, members: &[Id]) -> Result<(), PickleError> {
        let at = self.input.at();
        let malformed = |rule| Err(PickleError::Malformed { at, rule });
        let (pairs, rest) = members.as_chunks::<2>();
        if !rest.is_empty() {
            return malformed("a key has no value");
        }
        match self.top().and_then(|top| self.nodes.get_mut(top)) {
            Some(Node::Map(map)) => {
                map.extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            _ => malformed("what members are set of must be a map"),
        }
    }

    fn put(&mut self, opcode: Opcode) -> Result<(), PickleError> {
        let index = self.memo_index(opcode)?;
        let Some(top) = self.top() else {
            return Err(self.malformed("there is nothing to put into the memo"));
        };
        self.memo.insert(index, top);
        if self.memo.len() > MEMO_MAX { Err(PickleError::Memo) } else { Ok(()) }
    }

    fn get(&mut self, opcode: Opcode) -> Result<(), PickleError> {
        let index = self.memo_index(opcode)?;
        match self.memo.get(&index).copied() {
            Some(node) => self.push_slot(Slot::Node(node)),
            None => Err(self.malformed("what is got from the memo was never put there")),
        }
    }

    fn memo_index(&mut self, opcode: Opcode) -> Result<u32, PickleError> {
        match opcode {
            Opcode::Put | Opcode::Get => self.input.index_line(),
            Opcode::BinPut | Opcode::BinGet => self.input.u8().map(u32::from),
            _ => self.input.array().map(u32::from_le_bytes),
        }
    }

    fn global(&mut self) -> Result<(), PickleError> {
        let (module, name) = (self.input.name_line()?, self.input.name_line()?);
        let callable = match (module.as_str(), name.as_str()) {
            ("datetime", "datetime") => Callable::DateTime,
            ("decimal", "Decimal") => Callable::Decimal,
            _ => return Err(PickleError::Global(format!("{module}.{name}"))),
        };
        self.push(Node::Callable(callable))
    }

    /// Makes the value that one of the two names stands for.
    fn reduce(&mut self, code: u8, at: usize) -> Result<(), PickleError> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Some(Node::Callable(callable)) = self.nodes.get(callable) else {
            return Err(PickleError::Forbidden { code, name: refused_name(code), at });
        };
        let Some(Node::List(arguments)) = self.nodes.get(arguments) else {
            return Err(self.malformed("arguments must be a tuple"));
        };
        let arguments: Vec<Option<&Pickle>> = arguments
            .iter()
            .map(|id| match self.nodes.get(*id) {
                Some(Node::Scalar(value)) => Some(value),
                _ => None,
            })
            .collect();
        let value = match callable {
            Callable::DateTime => date_time(&arguments).map(Pickle::DateTime),
            Callable::Decimal => decimal(&arguments).map(Pickle::Decimal),
        };
        match value {
            Some(value) => self.scalar(value),
            None => Err(self.malformed("these are no arguments of a date or a decimal")),
        }
    }

    fn scalar(&mut self, value: Pickle) -> Result<(), PickleError> {
        self.push(Node::Scalar(value))
    }

    fn push(&mut self, node: Node) -> Result<(), PickleError> {
        self.nodes.push(node);
        self.push_slot(Slot::Node(self.nodes.len() - 1))
    }

    fn push_slot(&mut self, slot: Slot) -> Result<(), PickleError> {
        // Each value with its key and mark, a map of lists of one value being the costliest.
        if self.pushed >= 3 * ITEMS_MAX {
            return Err(PickleError::TooMany);
        }
        self.pushed += 1;
        self.stack.push(slot);
        Ok(())
    }

    fn top(&self) -> Option<Id> {
        match self.stack.last() {
            Some(Slot::Node(node)) => Some(*node),
            Some(Slot::Mark) | None => None,
        }
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        match self.stack.pop() {
            Some(Slot::Node(node)) => Ok(node),
            Some(Slot::Mark) | None => Err(self.malformed("a value is missing on the stack")),
        }
    }

    /// All values above the last mark, which goes too.
    fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let Some(mark) = self.stack.iter().rposition(|slot| matches!(slot, Slot::Mark)) else {
            return Err(self.malformed("a mark is missing on the stack"));
        };
        let above = self.stack.drain(mark..);
        Ok(above
            .filter_map(|slot| match slot {
                Slot::Node(node) => Some(node),
                Slot::Mark => None,
            })
            .collect())
    }

    fn malformed(&self, rule: &'static str) -> PickleError {
        PickleError::Malformed { at: self.input.at(), rule }
    }

    /// The value of a node, with all that is shared told apart.
    fn build(&self, id: Id, depth: usize, budget: &mut Budget) -> Result<Pickle, PickleError> {
        budget.items = budget.items.checked_sub(1).ok_or(PickleError::TooMany)?;
        let deeper = || depth.checked_sub(1).ok_or(PickleError::TooDeep);
        match self.nodes.get(id) {
            Some(Node::Scalar(value)) => {
                if let Pickle::Text(text) | Pickle::Decimal(text) = value {
                    budget.text_bytes =
                        budget.text_bytes.checked_sub(text.len()).ok_or(PickleError::TooMuchText)?;
                }
                Ok(value.clone())
            }
            Some(Node::List(items)) => {
                let depth = deeper()?;
                let built = items.iter().map(|item| self.build(*item, depth, budget));
                built.collect::<Result<_, _>>().map(Pickle::List)
            }
            Some(Node::Map(members)) => {
                let depth = deeper()?;
                let built = members.iter().map(|(key, value)| {
                    let Pickle::Text(key) = self.build(*key, depth, budget)? else {
                        return Err(self.malformed("a key must be a text"));
                    };
                    Ok((key, self.build(*value, depth, budget)?))
                });
                built.collect::<Result<_, _>>().map(Pickle::Map)
            }
            Some(Node::Callable(_)) | None => Err(self.malformed("a name is no value")),
        }
    }
}

/// Year, month and day, and up to four numbers down to the microsecond.
fn date_time(arguments: &[Option<&Pickle>]) -> Option<DateTime> {
    if !(3..=7).contains(&arguments.len()) {
        return None;
    }
    let number = |at: usize| match arguments.get(at) {
        None => Some(0),
        Some(Some(Pickle::Int(number))) => i32::try_from(*number).ok(),
        Some(_) => None,
    };
    let part = |at: usize| number(at).and_then(|number| i8::try_from(number).ok());
    let nanosecond = number(6)?.checked_mul(1000)?;
    DateTime::new(number(0)?.try_into().ok()?, part(1)?, part(2)?, part(3)?, part(4)?, part(5)?, nanosecond)
        .ok()
}

/// One text that is a decimal number.
fn decimal(arguments: &[Option<&Pickle>]) -> Option<String> {
    let [Some(Pickle::Text(text))] = arguments else { return None };
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite);
    is_number.then(|| text.clone())
}
