"""Between the contract and products."""

from libs.money import money_pb
from services.recommend.catalog.model import Product
from tessera.recommend.v1 import product_pb2


def product_pb(product: Product) -> product_pb2.Product:
    """To the contract."""
    price = product.price
    return product_pb2.Product(
        product_id=product.product_id,
        name=product.name,
        price=None if price is None else money_pb(price.amount, price.currency),
        url=product.url,
        image_url=product.image_url,
        category=product.category,
    )
