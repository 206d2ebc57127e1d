//! Arguments with a default.
//!
//! The library takes an argument's default only where the argument is missing from the document; where it is a variable
//! that the client left out, the resolver would get null. [`OrDefault`] gives the default in both cases, and still refuses
//! null itself. (Fields of input objects need none of this.) To add one: a marker with its [`DefaultArgument`], and
//! `default_with = "OrDefault::default()"` at the argument.

use std::borrow::Cow;
use std::marker::PhantomData;

use async_graphql::registry::Registry;
use async_graphql::{InputType, InputValueError, InputValueResult, Value};

use super::types::{StatisticsBucket, TaskOrder};

/// What an argument is where it is left out.
pub(crate) trait DefaultArgument: Send + Sync + 'static {
    /// The argument's type.
    type Type: InputType + Copy;
    /// The default.
    const VALUE: Self::Type;
}

/// `count(limit:)`: 1,000.
pub(crate) struct CountLimit;

impl DefaultArgument for CountLimit {
    type Type = i32;
    const VALUE: i32 = 1_000;
}

/// `taskFacets(first:)`: 20.
pub(crate) struct FacetCount;

impl DefaultArgument for FacetCount {
    type Type = i32;
    const VALUE: i32 = 20;
}

/// `taskStatistics(bucket:)`: by the hour.
pub(crate) struct ByTheHour;

impl DefaultArgument for ByTheHour {
    type Type = StatisticsBucket;
    const VALUE: StatisticsBucket = StatisticsBucket::Hour;
}

/// `slowQueries(first:)`: 10.
pub(crate) struct SlowQueryCount;

impl DefaultArgument for SlowQueryCount {
    type Type = i32;
    const VALUE: i32 = 10;
}

/// `tasks(orderBy:)`: last changed first.
pub(crate) struct LastChangedFirst;

impl DefaultArgument for LastChangedFirst {
    type Type = TaskOrder;
    const VALUE: TaskOrder = TaskOrder::UpdatedDesc;
}

/// `taskEvents(fromStart:)`: from now on.
pub(crate) struct No;

impl DefaultArgument for No {
    type Type = bool;
    const VALUE: bool = false;
}

/// A non-null argument with a default.
pub(crate) struct OrDefault<D: DefaultArgument>(D::Type, PhantomData<D>);

impl<D: DefaultArgument> OrDefault<D> {
    /// What was given, or the default.
    pub(crate) fn get(&self) -> D::Type {
        self.0
    }
}

impl<D: DefaultArgument> Default for OrDefault<D> {
    fn default() -> Self {
        Self(D::VALUE, PhantomData)
    }
}

impl<D: DefaultArgument> InputType for OrDefault<D> {
    type RawValueType = <D::Type as InputType>::RawValueType;

    fn type_name() -> Cow<'static, str> {
        D::Type::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        D::Type::create_type_info(registry)
    }

    fn parse(value: Option<Value>) -> InputValueResult<Self> {
        match value {
            None => Ok(Self::default()),
            given => D::Type::parse(given).map(|value| Self(value, PhantomData)).map_err(InputValueError::propagate),
        }
    }

    fn to_value(&self) -> Value {
        self.0.to_value()
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        self.0.as_raw_value()
    }
}
